"""When a labeler raises: which row it was, and the user's own lines of the traceback.

A batch that raised is asked again row by row; the first row that raises alone is the one. Where
none does, the mistake is the whole batch's, and its first row is named.
"""

from __future__ import annotations

import traceback
from typing import Any

import numpy.typing as npt

from distill.core.errors import DistillError, LabelerError
from distill.core.source import own_lines
from distill.labelers.base import Labeler, raw_predict
from distill.labelers.recipe import Recipe
from distill.labelers.registry import build_labeler


class RowFailure(Exception):  # noqa: N818  it carries one, it is not one
    """What a labeler raised, on which row of the fragment."""

    def __init__(self, row: int, error: BaseException) -> None:
        super().__init__(f"row {row}: {error!r}")
        self.row = row
        self.trace = own_lines(error)
        last = traceback.extract_tb(error.__traceback__)[-1]
        self.signature = f"{type(error).__name__} at {last.filename}:{last.lineno}"


def blame(error: Exception, labeler: Labeler, batch: npt.NDArray[Any], start: int) -> RowFailure:
    """The row of `batch` that makes the labeler raise; `start` is the batch's first row within the
    fragment."""
    for offset in range(len(batch)):
        try:
            raw_predict(labeler, batch[offset : offset + 1])
        except Exception as alone:  # noqa: BLE001  whatever it is, it is what we look for
            return RowFailure(start + offset, alone)
    return RowFailure(start, error)


def make_labeler(name: str, recipe: Recipe) -> Labeler:
    """The labeler of `labels.<name>`, in this process. Raises LabelerError with its own lines where
    it cannot be made."""
    try:
        return build_labeler(recipe)
    except Exception as error:
        raise LabelerError(
            f"labels.{name}: the labeler cannot be made:\n{own_lines(error)}"
        ) from error


def error_text(error: Exception) -> str:
    """An error for who reads the terminal: ours by its message, a user's by its own lines."""
    return (
        f"{type(error).__name__}: {error}" if isinstance(error, DistillError) else own_lines(error)
    )
