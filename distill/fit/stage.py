"""The stage `fit`: drive a labeler that is fitted by passes through the engine's fold, and keep its weights."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

import numpy as np
import safetensors.numpy

from distill.engine import fold
from distill.feed import Chunk, Source, TargetColumn
from distill.job import MAIN, Eszsl, Job, Outputs, pool_outputs
from distill.labelers.described import class_attributes
from distill.labelers.eszsl import EszslFit, Statistic, add_statistics
from distill.models import ModelRecord, Trained, read_record, write_record
from distill.models.identity import fit_folder
from distill.pool import open_pool

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Pass:
    """One chunk's part of a pass; what travels to the workers."""

    source: Source
    fit: EszslFit

    def __call__(self, chunk: Chunk) -> Statistic:
        rows = self.source.load(chunk)
        known = rows["target.weight"] > 0  # type: ignore[operator]
        return self.fit.partial(
            rows["features"][known].astype(np.float32),
            rows["target.target"][known].astype(np.int64),
            rows["row"][known].astype(np.int64),
        )


def fit_labeler(job: Job, name: str) -> Trained:
    """Fit `[fit.<name>]`, a labeler fitted by passes, unless it is done. Raises PoolError, StorageError."""
    spec = job.fit[name]
    assert isinstance(spec.model, Eszsl)
    folder = fit_folder(job, name)
    done = read_record(folder)
    if done is not None:
        return Trained(f"fit.{name}", done, now=False)
    pool = open_pool(job, spec.on)
    target = pool_outputs(job, spec.on)
    classes, attributes = class_attributes(job, name)
    seen = np.array([classes.index(each) for each in target.classes])
    fit = EszslFit(spec.model, attributes, seen, pool.inventory.rows)
    source = Source(
        (pool.inventory,), pool.features, pool.width, {"target": TargetColumn(str(pool.spec.target), target)}
    )
    number = 1
    while fit.weights is None:
        fit.update(
            fold(f"fit {name}, pass {number}", _Pass(source, fit), source.chunks(job.fragment_rows), add_statistics)
        )
        number += 1
    content = safetensors.numpy.save(fit.weights)
    log.info("fit.%s: chose %s", name, ", ".join(f"{key} = {value:.4g}" for key, value in fit.chosen.items()))
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
            parameters=sum(values.size for values in fit.weights.values()),
            taught_by={f"pools.{spec.on}": pool.inventory.content},
            details={"chosen": fit.chosen, "rows": [pool.inventory.rows], "seen": list(target.classes)},
        ),
        content,
    )
    return Trained(f"fit.{name}", record, now=True)
