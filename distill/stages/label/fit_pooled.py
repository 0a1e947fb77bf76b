"""Before the first label of a labeler that pools votes: the mean of each group's, by one pass over
what two label sets say. Memory holds a chunk and the groups, whatever the pool."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial

import numpy as np

from distill.core.errors import ContractError
from distill.engine.protocol import Engine
from distill.labelers.pooled import GroupSums, add_sums, sum_votes
from distill.labels.lease import make_once
from distill.loader.dataset import Dataset
from distill.loader.grouped_votes import GroupedVotes
from distill.loader.sampler import Chunk
from distill.models.record import ModelRecord, read_record, weights_bytes, write_record
from distill.plan.steps import PooledStep
from distill.storage.open import open_storage

_CHUNK_ROWS = 16_384


@dataclass(frozen=True)
class _Pass:
    """What is asked of a chunk: sent to every worker once."""

    values: GroupedVotes

    def __call__(self, chunk: Chunk) -> GroupSums:
        found = self.values.read(chunk)
        usable = np.ones(chunk.rows, np.bool_)
        usable[list(found.rejected)] = False
        return sum_votes(found.values[usable])


def fit_pooled(step: PooledStep, engine: Engine) -> ModelRecord:
    """Find the groups' means, unless they are known, or wait for another driver that does. Raises
    ContractError, StorageError."""
    if step.found is not None:
        return step.found
    folder = open_storage(step.folder)
    find = partial(read_record, folder)
    what = f"pooling the votes of labels.{step.name}"
    return make_once(folder, what, find, lambda: _fit(step, engine))


def _fit(step: PooledStep, engine: Engine) -> ModelRecord:
    dataset = Dataset(step.inventories, step.values, step.values.width)
    chunks = dataset.chunks(_CHUNK_ROWS)
    sums = engine.fold(f"pool {step.name}", _Pass(step.values), chunks, add_sums)
    if not sums.rows.any():
        raise ContractError(f"labels.{step.name}: no row has both a vote and a group.")
    means_KC = sums.votes / np.maximum(sums.rows, 1)[:, None]
    content = weights_bytes({"means": means_KC})
    record = ModelRecord(
        name=step.name,
        digest=step.folder.rsplit("/", 1)[1],
        form="pooled",
        in_features=step.values.width,
        heads={},
        widths={},
        sha256=hashlib.sha256(content).hexdigest(),
        parameters=means_KC.size,
        details={"rows": [int(sums.rows.sum())], "groups": int((sums.rows > 0).sum())},
    )
    return write_record(open_storage(step.folder), record, content, step.key)
