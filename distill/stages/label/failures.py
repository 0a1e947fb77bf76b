"""When a labeler raises: the row it raised on, and the user's own lines of the traceback.

A batch that raised is given to the labeler again, row by row; the first row that raises alone is
the one. Where none does, the mistake is the whole batch's, and its first row is named.
"""

from __future__ import annotations

import traceback
from typing import Any

import numpy.typing as npt

from distill.core.errors import DistillError, LabelerError
from distill.core.source import own_lines, user_errors
from distill.labelers.answers import Tell, say_nothing
from distill.labelers.base import Labeler, raw_predict
from distill.labelers.recipe import Recipe
from distill.labelers.registry import build_labeler


class RowFailure(Exception):  # noqa: N818  it carries an error, it is not one
    """What a labeler raised, on which row of the fragment."""

    def __init__(self, row: int, error: BaseException) -> None:
        super().__init__(f"row {row}: {error!r}")
        self.row = row
        self.trace = own_lines(error)
        last = traceback.extract_tb(error.__traceback__)[-1]
        # not by the message, which may name the row: it would be another one for each
        self.signature = f"{type(error).__name__} at {last.filename}:{last.lineno}"


def locate_failure(
    error: BaseException, labeler: Labeler, batch: npt.NDArray[Any], first_row: int
) -> RowFailure:
    """Find the row of `batch` on which the labeler raised `error`.

    `first_row` is the batch's first row within the fragment."""
    for offset in range(len(batch)):
        row = batch[offset : offset + 1]
        try:
            raw_predict(labeler, row)
        except user_errors() as row_error:  # whatever it is, it is what we look for
            return RowFailure(first_row + offset, row_error)
    return RowFailure(first_row, error)


def make_labeler(name: str, recipe: Recipe, *, tell: Tell = say_nothing) -> Labeler:
    """Build the labeler of `labels.<name>` in this process; `tell` as of `build_labeler`.

    Raises LabelerError with the user's own lines where it cannot be built."""
    try:
        return build_labeler(recipe, tell=tell)
    except user_errors() as error:
        lines = own_lines(error)
        raise LabelerError(f"labels.{name}: the labeler cannot be made:\n{lines}") from error


def error_text(error: BaseException) -> str:
    """Return an error as the terminal shows it: ours by its message, a user's by its own lines."""
    if isinstance(error, DistillError):
        return f"{type(error).__name__}: {error}"
    return own_lines(error)
