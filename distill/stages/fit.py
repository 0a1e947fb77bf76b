"""The stage `fit`: drive a labeler that is fitted by sums over rows through the engine's fold, and
keep its weights."""

from __future__ import annotations

import hashlib
import logging
import operator
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import safetensors.numpy

from distill.engine.ray.fold import call_remotely, fold
from distill.job.job import Job
from distill.labelers.base import Matrix
from distill.labelers.class_attributes import class_attributes
from distill.labelers.eszsl import EszslFit, Statistic
from distill.labelers.holdout import Constants
from distill.loader.dataset import Dataset, TargetColumn
from distill.loader.sampler import Chunk
from distill.models.files import identify_model
from distill.models.record import ModelRecord, Trained, read_record, write_record
from distill.plan.identity import fit_folder
from distill.plan.outputs import pool_outputs
from distill.plan.pools import open_pool
from distill.pools.features import as_matrix
from distill.spec.models import Eszsl
from distill.spec.outputs import Outputs
from distill.spec.students import MAIN

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Rows:
    """What is kept of one chunk's rows; what travels to the workers."""

    source: Dataset
    fit: EszslFit

    def __call__(self, chunk: Chunk) -> Statistic:
        rows = self.source.load(chunk)
        known = rows["target.weight"] > 0  # type: ignore[operator]
        return self.fit.partial(
            as_matrix(rows["features"][known]),
            rows["target.target"][known].astype(np.int64, copy=False),
            rows["row"][known].astype(np.int64, copy=False),
        )


def fit_labeler(job: Job, name: str) -> Trained:
    """Fit `[fit.<name>]`, a labeler fitted by passes, unless it is done. Raises PoolError,
    StorageError."""
    spec = job.fit[name]
    assert isinstance(spec.model, Eszsl)
    folder = fit_folder(job, name)
    done = read_record(folder)
    if done is not None:
        return Trained(f"fit.{name}", done, now=False)
    pool = open_pool(job, spec.on)
    target = pool_outputs(job, spec.on)
    classes, rows = job.descriptions(name)
    where = f"fit.{name}.model.encoder"
    encoder = (
        identify_model(job.model_uri(spec.model.encoder), None, where)
        if spec.model.encoder
        else None
    )
    attributes = class_attributes(rows, encoder)
    seen = np.array([classes.index(each) for each in target.classes])
    fit = EszslFit(spec.model, attributes, seen)
    source = Dataset(
        (pool.inventory,),
        pool.features,
        pool.width,
        {"target": TargetColumn(str(pool.spec.target), target)},
    )
    fitted = _fit_rows(name, fit, source, job.fragment_rows)
    content = safetensors.numpy.save(fitted.weights)
    record = write_record(
        folder,
        ModelRecord(
            name=name,
            digest=folder.uri.rsplit("/", 1)[1],
            form="eszsl",
            in_features=source.width,
            heads={MAIN: Outputs("logits", classes)},
            widths={MAIN: len(classes)},
            sha256=hashlib.sha256(content).hexdigest(),
            parameters=sum(values.size for values in fitted.weights.values()),
            taught_by={f"pools.{spec.on}": pool.inventory.content},
            details={
                "chosen": asdict(fitted.constants),
                "rows": [pool.inventory.rows],
                "sampled": fitted.sampled,
                "seen": list(target.classes),
            },
        ),
        content,
    )
    return Trained(f"fit.{name}", record, now=True)


@dataclass(frozen=True)
class _Fitted:
    """What came of a fit."""

    weights: dict[str, Matrix]
    constants: Constants
    sampled: int
    """Rows that the constants were chosen on."""


def _fit_rows(name: str, fit: EszslFit, source: Dataset, most_rows: int) -> _Fitted:
    """Sum over the rows, choose the constants on their sample, solve: all on the cluster."""
    every = source.chunks(most_rows)
    kept = fold(
        f"fit {name}, rows",
        _Rows(source, fit),
        every,
        fit.merge,
        unit="rows",
        size=lambda chunk: chunk.rows,
    )
    choice = fit.choice(kept)
    constants = choice.best(
        fold(
            f"fit {name}, constants",
            choice.score,
            choice.splits,
            operator.add,
            unit="held-out splits",
        )
    )
    said = ", ".join(f"{key} = {value:.4g}" for key, value in asdict(constants).items())
    log.info("fit.%s: chose %s, on %s rows", name, said, f"{len(choice.sample):,}")
    weights = call_remotely(partial(fit.weights, kept.gram, kept.sums, constants))
    return _Fitted(weights, constants, len(choice.sample))
