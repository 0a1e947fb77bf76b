"""`distill show`: a few rows and what the labeler says of them, in this process, before anything is
paid for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.core.errors import LabelerError
from distill.job.job import Job
from distill.labelers.base import ask
from distill.plan.labelers import prepare_uncalibrated
from distill.plan.outputs import label_outputs
from distill.plan.pools import open_pool
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


def preview_labels(job: Job, name: str, rows: int) -> Preview:
    """Ask `labels.<name>` about the first rows of its first pool; logits as they are before any
    calibration. Raises JobError, ContractError, LabelerError."""
    job.chosen_labels(name)
    pool = open_pool(job, job.labels[name].over[0])
    recipe, contract = prepare_uncalibrated(job, name)
    shard = pool.first_shard
    wanted = range(min(rows, shard.rows))
    taken = read_rows(
        pool.files, shard.key, wanted, pool.features.columns, format=pool.inventory.format
    )
    decoded = decode_features(taken.table, pool.features, pool.width)
    features = decoded.values
    labeler = make_labeler(name, recipe)
    try:
        said = ask(labeler, features, contract.width)
    except Exception as error:
        found = locate_failure(error, labeler, features, 0)
        raise LabelerError(
            f"labels.{name}: the labeler raised at {shard.key}, row {found.row}:\n{found.trace}"
        ) from error
    meaning, rejected = label_outputs(job, name), decoded.rejected | taken.rejected
    return Preview(pool.name, shard.key, features, *said, meaning, rejected)
