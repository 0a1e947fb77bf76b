"""Before the first label of a merge by Dawid and Skene: how often each party errs, found by passes
over what they wrote. Memory holds a chunk and the counts, whatever the pool."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from distill.core.errors import ContractError
from distill.engine.protocol import Engine
from distill.labelers.annotators import (
    Annotators,
    Counts,
    add_counts,
    add_pairs,
    count,
    count_pairs,
    maximise,
    suspicious_pair,
    votes_of,
)
from distill.labels.lease import make_once
from distill.loader.dataset import Dataset
from distill.loader.merged_values import MergedValues
from distill.loader.sampler import Chunk
from distill.models.record import ModelRecord, read_record, weights_bytes, write_record
from distill.plan.steps import AnnotatorsStep
from distill.storage.open import open_storage

log = logging.getLogger(__name__)

_CHUNK_ROWS = 16_384
_LEAST_PARTIES = 5  # without a pair, three are left to say what is right
_MOST_PARTIES = 32  # whose pairs are some hundred


@dataclass(frozen=True)
class _Pass:
    """What is asked of a chunk: plain values, sent to every worker once."""

    values: tuple[MergedValues, ...]
    classes: int
    known: Annotators | None
    pairs: bool = False

    def __call__(self, chunk: Chunk) -> Any:
        values = self.values[chunk.pool]
        rows = values.read(chunk)
        stacked = rows.values.reshape(chunk.rows, len(values.parties), self.classes)
        outputs_MBC = np.moveaxis(stacked, 1, 0).astype(np.float64)
        outputs_MBC[:, list(rows.rejected)] = np.nan  # which nobody labelled
        votes_MB = votes_of(outputs_MBC)
        if self.pairs and self.known is not None:
            return count_pairs(votes_MB, self.known)
        return count(votes_MB, self.classes, self.known)


def fit_annotators(step: AnnotatorsStep, engine: Engine) -> ModelRecord:
    """Find how often each party errs, unless it is known, or wait for another driver that does.
    Raises ContractError, StorageError."""
    if step.found is not None:
        return step.found
    folder = open_storage(step.folder)
    find = partial(read_record, folder)
    what = f"fitting the parties of labels.{step.name}"
    return make_once(folder, what, find, lambda: _fit(step, engine))


def _fit(step: AnnotatorsStep, engine: Engine) -> ModelRecord:
    classes = len(step.outputs.classes)
    dataset = Dataset(step.inventories, step.values[0], step.values[0].width)
    chunks = dataset.chunks(_CHUNK_ROWS)

    def one_pass(number: int, known: Annotators | None) -> Counts:
        title = f"merge {step.name}, pass {number}"
        counts: Counts = engine.fold(title, _Pass(step.values, classes, known), chunks, add_counts)
        return counts

    counts = one_pass(0, None)
    if not counts.rows:
        raise ContractError(f"labels.{step.name}: no party has labelled any row.")
    known = maximise(counts)
    likelihood = -np.inf
    for number in range(1, step.passes + 1):
        counts = one_pass(number, known)
        known = maximise(counts)
        former = likelihood
        likelihood = counts.log_likelihood / counts.rows
        if likelihood - former < step.tolerance:
            break
    if _MOST_PARTIES >= len(step.parties) >= _LEAST_PARTIES:
        title = f"merge {step.name}, pairs"
        pairs = engine.fold(
            title, _Pass(step.values, classes, known, pairs=True), chunks, add_pairs
        )
        _warn(step, suspicious_pair(pairs, len(step.parties)))
    return _keep(step, known, counts, number)


def _warn(step: AnnotatorsStep, pair: tuple[int, int, float] | None) -> None:
    if pair is None:
        return
    first, second, times = pair
    log.warning(
        "labels.%s: %s and %s are wrong in the same way %.1f times as often as if each erred by"
        " itself; Dawid and Skene take them for two witnesses. Leave one of them out",
        step.name,
        step.parties[first],
        step.parties[second],
        times,
    )


def _keep(step: AnnotatorsStep, known: Annotators, counts: Counts, passes: int) -> ModelRecord:
    folder = open_storage(step.folder)
    content = weights_bytes({"prior": known.prior, "errors": known.errors})
    details: dict[str, Any] = {"passes": passes, "rows": [int(counts.rows)]}
    # of encrypted votes neither record nor log say how good they are
    if not step.key:
        right = known.errors.diagonal(axis1=1, axis2=2) @ known.prior
        accuracy = dict(zip(step.parties, np.round(right, 4).tolist(), strict=True))
        log.info("labels.%s: by their votes alone, parties are right on %s", step.name, accuracy)
        details["accuracy"] = accuracy
    record = ModelRecord(
        name=step.name,
        digest=step.folder.rsplit("/", 1)[1],
        form="annotators",
        in_features=step.values[0].width,
        heads={},
        widths={},
        sha256=hashlib.sha256(content).hexdigest(),
        parameters=known.errors.size,
        details=details,
    )
    return write_record(folder, record, content, step.key)
