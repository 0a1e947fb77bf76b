"""`distill show`: a few rows and what the labeler says of them, in this process, before anything is
paid for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.core.errors import LabelerError
from distill.labelers.base import predict
from distill.plan.steps import PreviewStep
from distill.pools.features import decode_features
from distill.pools.formats.registry import read_rows
from distill.spec.outputs import Outputs
from distill.stages.label.failures import locate_failure, make_labeler


@dataclass(frozen=True)
class Preview:
    """Rows of the first shard of the labeler's first pool, and its answers (logits or values), row
    by row."""

    pool: str
    shard: str
    features: npt.NDArray[np.generic]
    outputs: npt.NDArray[np.float32]
    disagreement: npt.NDArray[np.float32] | None
    meaning: Outputs
    rejected: dict[int, tuple[str, str]]
    """Row → reason code and message."""


def preview_labels(step: PreviewStep, rows: int) -> Preview:
    """Ask a labeler about the first rows of its first pool. Raises PoolError, LabelerError."""
    pool = step.pool
    shard = pool.first_shard
    wanted = range(min(rows, shard.rows))
    batch = read_rows(
        pool.files, shard.key, wanted, pool.features.columns, format=pool.inventory.format
    )
    decoded = decode_features(batch.table, pool.features, pool.width)
    labeler = make_labeler(step.name, step.recipe)
    try:
        predictions = predict(labeler, decoded.values, step.width)
    except Exception as error:
        found = locate_failure(error, labeler, decoded.values, 0)
        raise LabelerError(
            f"labels.{step.name}: the labeler raised at {shard.key}, row {found.row}:\n{found.trace}"
        ) from error
    rejected = decoded.rejected | batch.rejected
    return Preview(
        pool.name, shard.key, decoded.values, *predictions, meaning=step.outputs, rejected=rejected
    )
