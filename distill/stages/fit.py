"""The stage `fit`: drive a labeler that is fitted by sums over rows through the engine's fold, and
keep its weights."""

from __future__ import annotations

import hashlib
import logging
import operator
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from distill.engine.protocol import Engine
from distill.labelers.base import Matrix
from distill.labelers.eszsl.attributes import class_attributes
from distill.labelers.eszsl.fit import EszslFit, Statistic
from distill.labelers.eszsl.holdout import Constants
from distill.labels.lease import make_once
from distill.loader.dataset import Dataset
from distill.loader.sampler import Chunk
from distill.models.record import ModelRecord, Trained, read_trained, weights_bytes, write_record
from distill.plan.short import fit_is_short
from distill.plan.steps import FitInputs, FitStep
from distill.pools.features import as_matrix
from distill.spec.outputs import Outputs
from distill.spec.students import MAIN
from distill.storage.base import Storage
from distill.storage.open import open_storage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _PartialSums:
    """What is kept of one chunk's rows; what travels to the workers."""

    source: Dataset
    fit: EszslFit

    def __call__(self, chunk: Chunk) -> Statistic:
        rows = self.source.load(chunk)
        weights = rows["target.weight"]
        known = weights > 0  # type: ignore[operator]
        return self.fit.partial(
            as_matrix(rows["features"][known]),
            rows["target.target"][known].astype(np.int64, copy=False),
            rows["row"][known].astype(np.int64, copy=False),
        )


def fit_labeler(step: FitStep, engine: Engine) -> Trained:
    """Fit a labeler by passes, unless it is done, or wait for another driver that does. Raises
    PoolError, StorageError."""
    name = f"fit.{step.name}"
    if step.record is not None:
        return Trained(name, step.record, now=False)
    folder = open_storage(step.folder)
    find = partial(read_trained, folder, name)
    return make_once(folder, name, find, lambda: _fit(step, folder, engine))


def _fit(step: FitStep, folder: Storage, engine: Engine) -> Trained:
    inputs = step.inputs
    assert inputs is not None
    attributes = class_attributes(inputs.descriptions, inputs.encoder)
    seen = np.array([inputs.classes.index(each) for each in inputs.seen])
    fit = EszslFit(inputs.model, attributes, seen)
    if fit_is_short(inputs):
        engine = engine.for_short_work()
    fitted = _fit_rows(step.name, fit, inputs, engine)
    content = weights_bytes(fitted.weights)
    record = ModelRecord(
        name=step.name,
        digest=folder.uri.rsplit("/", 1)[1],
        form="eszsl",
        in_features=inputs.dataset.width,
        heads={MAIN: Outputs("logits", inputs.classes)},
        widths={MAIN: len(inputs.classes)},
        sha256=hashlib.sha256(content).hexdigest(),
        parameters=sum(values.size for values in fitted.weights.values()),
        taught_by=inputs.taught_by,
        details={
            "chosen": asdict(fitted.constants),
            "rows": [inputs.dataset.rows],
            "sampled": fitted.sampled,
            "seen": list(inputs.seen),
        },
    )
    return Trained(f"fit.{step.name}", write_record(folder, record, content), now=True)


@dataclass(frozen=True)
class _Fitted:
    """What came of a fit."""

    weights: dict[str, Matrix]
    constants: Constants
    sampled: int  # rows that the constants were chosen on


def _fit_rows(name: str, fit: EszslFit, inputs: FitInputs, engine: Engine) -> _Fitted:
    """Sum over the rows, choose the constants on their sample, solve: all by the engine."""
    partial_sums = _PartialSums(inputs.dataset, fit)
    sums = engine.fold(
        f"fit {name}, rows",
        partial_sums,
        inputs.dataset.chunks(inputs.most_rows),
        fit.merge,
        unit="rows",
        size=lambda chunk: chunk.rows,
    )
    choice = fit.choice(sums)
    losses = engine.fold(
        f"fit {name}, constants", choice.score, choice.splits, operator.add, unit="held-out splits"
    )
    constants = choice.best(losses)
    chosen = ", ".join(f"{key} = {value:.4g}" for key, value in asdict(constants).items())
    log.info("fit.%s: chose %s, on %s rows", name, chosen, f"{len(choice.sample):,}")
    weights = engine.call(partial(fit.weights, sums.gram, sums.sums, constants))
    sampled = len(choice.sample)
    return _Fitted(weights, constants, sampled)
