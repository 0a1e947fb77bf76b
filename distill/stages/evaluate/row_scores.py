"""What a method scores on each row: the measures that are means over rows, and so can be had of any
slice of them and held side by side row by row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distill.core.results import ROW_MEASURES
from distill.stages.evaluate.metrics import FLOOR, choices, negative_log

Array = npt.NDArray[np.float64]


def row_scores(kind: str, predicted: Array, truth: npt.NDArray[np.generic]) -> Array:
    """Return (B, Q): the measures `ROW_MEASURES[kind]` of each row, of probabilities or values."""
    if kind == "value":
        away = predicted - truth.astype(np.float64)
        return _table(np.square(away).mean(axis=1), np.abs(away).mean(axis=1))
    if kind == "independent":
        return _table(*_independent(predicted, truth.astype(np.float64)))
    numbers = truth.astype(np.int64)
    right = (choices(predicted) == numbers).astype(np.float64)
    nll = negative_log(predicted[np.arange(len(numbers)), numbers])
    return _table(right, nll)


def said_by(kind: str, teacher: Array) -> npt.NDArray[np.generic]:
    """Return what a teacher says as if it were the truth."""
    if kind == "value":
        return teacher
    if kind == "independent":
        is_yes = teacher > 0.5
        return is_yes.astype(np.float64)
    return np.maximum(choices(teacher), 0)


def _independent(predicted: Array, truth: Array) -> tuple[Array, Array]:
    right = (predicted > 0.5) == (truth > 0.5)
    floored = np.clip(predicted, FLOOR, 1 - FLOOR)
    nll = -(truth * np.log(floored) + (1 - truth) * np.log(1 - floored))
    return right.mean(axis=1), nll.mean(axis=1)


def _table(*columns: Array) -> Array:
    table = np.stack(columns, axis=1)
    assert table.shape[1] == len(ROW_MEASURES["value"])
    return table
