"""Before the first label: ask the labeler about labelled rows, through the same pool of actors, and keep the temperature that fits them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.engine import Stream, map_fragments, stream_here
from distill.errors import LabelerError
from distill.job import Job, Outputs, pool_outputs
from distill.label.blame import own_lines
from distill.label.prepared import Request, prepare_rows
from distill.labelers import Recipe, ask, build_labeler
from distill.labelers.calibration import (
    UNCHANGED,
    Calibration,
    best_temperature,
    calibration_folder,
    keep_calibration,
    nll_over_grid,
    read_calibration,
)
from distill.labelers.prepare import prepare_uncalibrated
from distill.labels import Contract
from distill.pool import OpenPool, decode_target, open_pool
from distill.progress import track

log = logging.getLogger(__name__)

_MOST_ROWS = 100_000
"""One number is known well long before."""


@dataclass(frozen=True)
class Questions:
    """What an actor is told once: the labeler, what the pool's rows say, and where the labeler has the truth's classes."""

    recipe: Recipe
    contract: Contract
    request: Request
    """Of any rows; each task says which."""
    target: str
    outputs: Outputs
    columns: tuple[int, ...]


class CalibrationWorker:
    """Built once an actor; called once a fragment."""

    def __init__(self, told: Questions, device: str, stream: Stream = stream_here) -> None:
        self.told, self.stream = told, stream
        self.labeler = build_labeler(told.recipe, device)

    def __call__(self, plain: dict[str, Any]) -> dict[str, Any]:
        try:
            return {**plain, **self._sums(plain)}
        except Exception as error:  # noqa: BLE001  told with the fragment
            return {**plain, "failure": own_lines(error)}

    def _sums(self, plain: dict[str, Any]) -> dict[str, Any]:
        told, rows, nll = self.told, 0, None
        request = Request(
            **{**vars(told.request), **{name: plain[name] for name in ("key", "shard_id", "start", "rows")}}
        )
        with closing(self.stream(prepare_rows, request)) as pieces:
            for piece in pieces:
                truth = decode_target(piece.keys[told.target], told.outputs)
                usable = ~np.isin(np.arange(len(piece.rows.values)), [*piece.rows.rejected, *truth.rejected])
                for start in range(0, len(usable), request.batch_rows):
                    batch = slice(start, start + request.batch_rows)
                    logits = ask(self.labeler, piece.rows.values[batch], told.contract.width)[usable[batch]]
                    if len(logits):
                        part = nll_over_grid(logits[:, list(told.columns)], truth.values[batch][usable[batch]])
                        nll, rows = part if nll is None else nll + part, rows + len(logits)
        return {"counted": rows, "nll": [] if nll is None else nll.tolist()}


def calibrate(job: Job, name: str) -> Calibration | None:
    """Find the temperature of `labels.<name>` unless it is known; None where the job asks for none. Raises LabelerError, PoolError."""
    on = job.labels[name].calibrate_on
    if on is None:
        return None
    recipe, contract = prepare_uncalibrated(job, name)
    folder = calibration_folder(job, name, contract)
    return read_calibration(folder) or keep_calibration(folder, _found(job, name, recipe, contract, open_pool(job, on)))


def _found(job: Job, name: str, recipe: Recipe, contract: Contract, pool: OpenPool) -> Calibration:
    outputs, target = pool_outputs(job, pool.name), str(pool.spec.target)
    places = {each: number for number, each in enumerate(contract.classes)}
    request = Request(
        pool.files.uri, "", "", 0, 0,
        features=pool.features, width=pool.width, batch_rows=contract.batch_rows, format=pool.inventory.format, keys=(target,),
    )  # fmt: skip
    told = Questions(recipe, contract, request, target, outputs, tuple(places[each] for each in outputs.classes))
    tasks = list(_chosen(pool, job.fragment_rows))
    answers: dict[int, dict[str, Any]] = {}
    with (
        track(f"calibrate {name} on {pool.name}", sum(task["rows"] for task in tasks)) as bar,
        closing(
            map_fragments(CalibrationWorker, told, ([task] for task in tasks), job.labels[name].compute, bar)
        ) as come,
    ):
        for answer in come:
            if "failure" in answer:
                raise LabelerError(
                    f"labels.{name}: the labeler raised on {answer['key']} of pools.{pool.name}:\n{answer['failure']}"
                )
            answers[answer["place"]] = answer
            bar.advance(answer["rows"])
    known = [answers[place] for place in sorted(answers) if answers[place]["counted"]]
    rows = sum(answer["counted"] for answer in known)
    if not rows:
        raise LabelerError(
            f"labels.{name}.calibrate_on: pools.{pool.name} has no row with a usable target. Name another pool."
        )
    nll = np.sum([answer["nll"] for answer in known], axis=0)
    found = Calibration(best_temperature(nll), rows, float(nll[UNCHANGED] / rows), float(nll.min() / rows))
    log.info(
        "labels.%s: calibrated on %d rows of pools.%s, temperature %.3g: %.4g nats a row before, %.4g after",
        name, rows, pool.name, found.temperature, found.nll_before, found.nll_after,
    )  # fmt: skip
    return found


def _chosen(pool: OpenPool, fragment_rows: int) -> Iterator[dict[str, Any]]:
    """Fragments, evenly over the pool, of about so many rows as are needed, as plain tasks."""
    every = max(1, pool.inventory.rows // _MOST_ROWS)
    for place, fragment in enumerate(pool.inventory.fragments(fragment_rows)):
        if place % every == 0:
            shard = fragment.shard
            yield {
                "place": place,
                "key": shard.key,
                "shard_id": shard.id,
                "start": fragment.start,
                "rows": fragment.rows,
            }
