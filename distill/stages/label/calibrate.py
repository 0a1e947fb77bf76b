"""Before the first label: ask the labeler about labelled rows, through the same pool of actors, and
keep the temperature that fits them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from distill.core.errors import LabelerError
from distill.core.progress import track
from distill.core.source import user_errors
from distill.engine.protocol import Engine, Stream, stream_here
from distill.labelers.calibration import (
    GRID,
    UNCHANGED,
    Calibration,
    best_temperature,
    keep_calibration,
    nll_over_grid,
    read_calibration,
)
from distill.labelers.recipe import Recipe
from distill.labels.contract import Contract
from distill.labels.encoding import storable
from distill.labels.lease import make_once
from distill.plan.steps import CalibrateStep
from distill.pools.features import decode_target
from distill.pools.open_pool import OpenPool
from distill.spec.outputs import Outputs
from distill.stages.label.deadly_rows import deadly_rows
from distill.stages.label.failures import RowFailure, error_text
from distill.stages.label.inference import InferenceLoop
from distill.stages.label.row_reader import RowRequest, read_chunks
from distill.storage.open import open_storage

log = logging.getLogger(__name__)

_MOST_ROWS = 100_000  # one number is known well long before
_MOST_FRAGMENTS = 400  # they share those rows, so that a sorted pool is not judged by its beginning


@dataclass(frozen=True)
class CalibrationConfig:
    """What every actor is built with: the labeler, what the pool's rows say, and where the labeler
    has the truth's classes."""

    recipe: Recipe
    contract: Contract
    request: RowRequest  # of any rows; each task says which
    outputs: Outputs
    columns: tuple[int, ...]


class CalibrationWorker:
    """Built once an actor; called once a fragment."""

    def __init__(
        self, config: CalibrationConfig, device: str, stream: Stream = stream_here
    ) -> None:
        self.config = config
        self.stream = stream
        # rows as they are, since it is these whose targets are known
        contract = replace(config.contract, views=0)
        self.inference = InferenceLoop(config.recipe, contract, device, threads=stream.threads)

    def __call__(self, plain: dict[str, Any]) -> dict[str, Any]:
        if self.inference.build_error:
            return {**plain, "failure": f" cannot be made:\n{self.inference.build_error}"}
        try:
            sums = self._sums(plain)
            return {**plain, **sums}
        except RowFailure as found:
            start = plain["start"]
            row = start + found.row
            return {**plain, "failure": f" raised on {plain['key']}, row {row}:\n{found.trace}"}
        except user_errors() as error:  # told with the fragment
            trace = error_text(error)
            return {**plain, "failure": f" could not be asked about {plain['key']}:\n{trace}"}

    def _sums(self, plain: dict[str, Any]) -> dict[str, Any]:
        config = self.config
        columns = list(config.columns)
        counted = 0
        nll = np.zeros(len(GRID))
        where = {name: plain[name] for name in ("key", "shard_id", "start", "rows", "shard")}
        request = replace(config.request, **where)
        with (
            deadly_rows(f"{plain['key']}/{plain['start']}", plain["start"]) as deadly,
            closing(self.stream(read_chunks, request)) as chunks,
            closing(self.inference.predict(chunks, deadly)) as predicted,
        ):
            for batch, (logits, _) in chain.from_iterable(predicted):
                truth = decode_target(batch.target, config.outputs)
                known = storable(logits, config.contract)
                known[[*batch.rejected, *truth.rejected]] = False
                nll += nll_over_grid(logits[known][:, columns], truth.values[known])
                counted += int(known.sum())
        listed = nll.tolist()
        return {"counted": counted, "nll": listed}


def calibrate(step: CalibrateStep, engine: Engine) -> Calibration:
    """Find the temperature of a label set's logits unless it is known, or wait for another driver
    that does. Raises LabelerError, PoolError."""
    if step.found is not None:
        return step.found
    folder = open_storage(step.folder)
    return make_once(
        folder,
        f"calibrating labels.{step.name}",
        lambda: read_calibration(folder),
        lambda: keep_calibration(folder, _find(step, engine)),
    )


def _find(step: CalibrateStep, engine: Engine) -> Calibration:
    pool = step.pool
    answers = _ask(step, engine)
    # in the pool's order, since sums in the order of the answers would have other last bits
    known = [answers[place] for place in sorted(answers) if answers[place]["counted"]]
    rows = sum(answer["counted"] for answer in known)
    where = f"labels.{step.name}.calibrate_on"
    if not rows:
        message = f"{where}: pools.{pool.name} has no row with a usable target. Name another pool."
        raise LabelerError(message)
    nll = np.sum([answer["nll"] for answer in known], axis=0)
    try:
        temperature = best_temperature(nll)
    except ValueError as error:
        raise LabelerError(
            f"{where}: no temperature fits the {rows} rows of pools.{pool.name}: {error}. It is"
            " right on all of them, or says nothing of them: name a pool with more rows, that it"
            " has not seen."
        ) from None
    found = Calibration(temperature, rows, float(nll[UNCHANGED] / rows), float(nll.min() / rows))
    log.info(
        "labels.%s: calibrated on %d rows of pools.%s, temperature %.3g:"
        " %.4g nats a row before, %.4g after",
        step.name,
        rows,
        pool.name,
        found.temperature,
        found.nll_before,
        found.nll_after,
    )
    return found


def _ask(step: CalibrateStep, engine: Engine) -> dict[int, dict[str, Any]]:
    """The sums over each chosen fragment, by its place in the pool. Raises LabelerError."""
    pool, contract = step.pool, step.contract
    positions = {each: number for number, each in enumerate(contract.classes)}
    request = RowRequest(
        pool.files.uri,
        "",
        "",
        0,
        0,
        features=step.values or pool.seen_features,
        width=step.values.width if step.values else pool.width,
        batch_rows=contract.batch_rows,
        format=pool.inventory.format,
        target=pool.spec.target,
    )
    columns = tuple(positions[each] for each in step.truth.classes)
    config = CalibrationConfig(step.recipe, contract, request, step.truth, columns)
    tasks = list(_chosen(pool, step.fragment_rows))
    rows = sum(task["rows"] for task in tasks)
    groups = ([task] for task in tasks)
    answers = {}
    with (
        track(f"calibrate {step.name} on {pool.name}", rows) as bar,
        closing(engine.map(CalibrationWorker, config, groups, step.compute, bar)) as coming,
    ):
        for answer in coming:
            if "failure" in answer:
                raise LabelerError(
                    f"labels.{step.name}: calibrating on pools.{pool.name}, the"
                    f" labeler{answer['failure']}"
                )
            place = answer["place"]
            answers[place] = answer
            bar.advance(answer["rows"])
    return answers


def _chosen(pool: OpenPool, fragment_rows: int) -> Iterator[dict[str, Any]]:
    """Of fragments evenly over the pool, the first rows: about so many as are needed, of whatever
    the pool is sorted by. Plain tasks."""
    table = pool.inventory.fragment_table(fragment_rows)
    count = min(len(table), _MOST_FRAGMENTS)
    places = set(np.linspace(0, len(table) - 1, count).astype(int).tolist())
    each = math.ceil(_MOST_ROWS / len(places))
    for place, fragment in enumerate(pool.inventory.fragments(fragment_rows)):
        if place in places:
            shard = fragment.shard
            yield {
                "place": place,
                "key": shard.key,
                "shard_id": shard.id,
                "shard": shard.number,
                "start": fragment.start,
                "rows": min(fragment.rows, each),
            }
