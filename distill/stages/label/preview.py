"""`distill show`: a few rows and what the labeler says of them, before anything is paid for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.core.errors import LabelerError
from distill.core.source import user_errors
from distill.labelers.base import predict
from distill.labels.reveal import revealed
from distill.plan.steps import PreviewStep
from distill.spec.outputs import Outputs
from distill.stages.label.failures import locate_failure, make_labeler
from distill.stages.label.rejects import rejected_rows
from distill.stages.label.repeated import STRICT_REFUSES, repeat_problem
from distill.stages.label.row_reader import read_first


@dataclass(frozen=True)
class Preview:
    """Rows of the first shard of the first pool, and the labeler's answers to them, row by row."""

    pool: str
    shard: str
    features: npt.NDArray[np.generic]
    outputs: npt.NDArray[np.float32]
    disagreement: npt.NDArray[np.float32] | None
    meaning: Outputs
    rejected: dict[int, tuple[str, str]]  # row → reason code and message
    notes: tuple[str, ...]  # what a person should know of the labeler before it is paid for


def preview_labels(step: PreviewStep, rows: int) -> Preview:
    """Ask a labeler about the first rows of its first pool. Raises PoolError, LabelerError."""
    pool = step.pool
    shard = pool.first_shard
    wanted = range(min(rows, shard.rows))
    decoded = read_first(pool, shard, wanted, step.values)
    notes: list[str] = []
    labeler = make_labeler(step.name, step.recipe, tell=notes.append)
    width = step.contract.width
    try:
        # copies, since a labeler may write into what it is given
        predictions = predict(labeler, decoded.values.copy(), width)
        repeated = predict(labeler, decoded.values.copy(), width)
    except user_errors() as error:
        found = locate_failure(error, labeler, decoded.values, 0)
        raise LabelerError(
            f"labels.{step.name}: the labeler raised at {shard.key}, row {found.row}:\n{found.trace}"
        ) from error
    problem = repeat_problem(predictions.outputs, repeated.outputs, step.contract)
    if problem:
        notes.append(problem + STRICT_REFUSES if step.strict else problem)
    return Preview(
        pool.name,
        shard.key,
        decoded.values,
        revealed(predictions.outputs, step.contract),
        predictions.disagreement,
        meaning=step.outputs,
        rejected=rejected_rows(predictions.outputs, step.contract, decoded.rejected),
        notes=tuple(notes),
    )
