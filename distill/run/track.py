"""Finished evaluations, written where experiments are followed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distill.core.errors import JobError
from distill.run.compare import read_evaluation


def track_results(
    results: Sequence[str], *, tensorboard: str | None = None, mlflow: str | None = None
) -> list[str]:
    """Write finished evaluations to TensorBoard's files in a folder, to MLflow at an address, or
    both, what is there already left out; return a line for each. A result is as `compare_results`
    takes it.

    Raises JobError for what holds no evaluation and where neither is named, MissingExtraError.
    """
    if tensorboard is None and mlflow is None:
        raise JobError("Nowhere to track to. Give --tensorboard FOLDER, --mlflow URI, or both.")
    if tensorboard is not None and "://" in tensorboard:
        raise JobError(f"--tensorboard {tensorboard}: name a folder of this machine.")
    from distill.stages.track.mlflow import require_mlflow, track_in_mlflow
    from distill.stages.track.tensorboard import require_tensorboard, track_in_tensorboard

    # both before either is begun
    if tensorboard is not None:
        require_tensorboard()
    if mlflow is not None:
        require_mlflow()
    lines = []
    for evaluation in [read_evaluation(result).evaluation for result in results]:
        methods = len(evaluation.methods)
        if tensorboard is not None:
            place, written = track_in_tensorboard(evaluation, Path(tensorboard))
            lines.append(f"{evaluation.job}: {methods} methods ({written} written now): {place}")
        if mlflow is not None:
            name, written = track_in_mlflow(evaluation, mlflow)
            lines.append(
                f"{evaluation.job}: {methods} methods ({written} written now): experiment {name!r}"
                f" at {mlflow}"
            )
    return lines
