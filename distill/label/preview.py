"""`distill show`: a few rows and what the labeler says of them, in this process, before anything is paid for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.job import Job, Outputs, label_outputs
from distill.labelers import build_labeler, checked_answer
from distill.labelers.prepare import prepare_labels
from distill.pool import decode_features, open_pool, read_rows


@dataclass(frozen=True)
class Preview:
    """Rows of the first shard of the labeler's first pool, and its answers (logits or values), row by row."""

    pool: str
    shard: str
    features: npt.NDArray[np.float32]
    outputs: npt.NDArray[np.float32]
    meaning: Outputs
    rejected: dict[int, tuple[str, str]]
    """Row → reason code and message."""


def preview_labels(job: Job, name: str, rows: int) -> Preview:
    """Ask `labels.<name>` about the first rows of its first pool. Raises JobError, ContractError; what the labeler raises passes."""
    job.chosen_labels(name)
    pool = open_pool(job, job.labels[name].over[0])
    recipe, contract = prepare_labels(job, name)
    shard = pool.inventory.shards[0]
    table = read_rows(pool.files, shard.key, range(min(rows, shard.rows)), pool.features.columns)
    decoded = decode_features(table, pool.features, pool.width())
    features = decoded.values.astype(np.float32, copy=False)
    outputs = checked_answer(build_labeler(recipe).label(features), len(features), contract.width)
    return Preview(pool.name, shard.key, features, outputs, label_outputs(job, name), decoded.rejected)
