"""From whatever a labeler answers to float32 outputs in the order of its classes, or a refusal.

array, tensor, rows in a list     by position; of whatever real type, on whatever device
table                             by the names of its columns, as the classes are called:
                                  pandas, Polars, Arrow, a dict of columns, a structured array
masked numbers, nulls of a table  NaN, so that the row is rejected when it is encoded
text, complex numbers, objects    ValueError: a cast would make numbers that nobody meant
probabilities, where declared     log p; of independent outputs log p − log (1 − p)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.labelers.base import Labeler, Predictions, as_predictions
from distill.labelers.converted import ConvertedLabeler
from distill.spec.base import repeated
from distill.spec.labels import Answers
from distill.spec.outputs import Outputs

Array = npt.NDArray[Any]
Tell = Callable[[str], None]  # takes what a person should know of a labeler that works


def say_nothing(_note: str) -> None:
    """Take a note that nobody asked for."""


# what a probability of 0 counts as, since a label must be finite
_LEAST = np.exp(-30.0)
# how far the probabilities of a row may be from 1 together: float16 has three digits
_SUM_TOLERANCE = 0.01
_LOOKS_TOLERANCE = 1e-3
# independent logits lie in 0..1 by chance where there are fewer
_FEWEST_NUMBERS = 8
_DUE = "where real numbers are due, a row of them for each row of features"


class DeclaredLabeler(ConvertedLabeler):
    """Another labeler, its answers turned into what it declares: `outputs`, as `answers`."""

    def __init__(
        self, labeler: Labeler, outputs: Outputs, answers: Answers = "logits", *, tell: Tell
    ) -> None:
        super().__init__(labeler)
        self.outputs = outputs
        self.answers = answers
        self._tell = tell
        self._is_first = True

    def convert(self, raw: Any) -> Predictions:
        """Return an answer as float32. Raises ValueError for what is no real number, for a table
        of other columns, and for declared probabilities that are none."""
        answer = as_predictions(raw)
        numbers = as_numbers(answer.outputs, self.outputs)
        has_rows_of_classes = numbers.ndim == 2 and self.outputs.kind == "logits"
        if has_rows_of_classes and self.answers == "probabilities":
            numbers = logits_of(numbers, exclusive=self.outputs.exclusive)
        # undeclared ones cannot be told from logits with certainty: taken as they are, and told of
        elif has_rows_of_classes and self._is_first:
            self._tell_of_probabilities(numbers)
        self._is_first = False
        # always a copy: the labeler may write its next answer into the same array
        with np.errstate(over="ignore"):  # what becomes infinite is rejected when it is encoded
            outputs = numbers.astype(np.float32)
        return Predictions(outputs, answer.disagreement)

    def _tell_of_probabilities(self, numbers: Array) -> None:
        if not look_like_probabilities(numbers, exclusive=self.outputs.exclusive):
            return
        range_of_rows = "lies in 0..1, as probabilities do"
        logit = "log(p) - log(1 - p)"
        if self.outputs.exclusive:
            range_of_rows = "is positive and sums to 1 (or 100), as probabilities do"
            logit = "log(p)"
        self._tell(
            f"each row of the labeler's first answer {range_of_rows}, where logits are meant:"
            " labels would come out wrong, of probabilities nearly flat. Declare them by"
            f' `answers = "probabilities"` of the labeler, or answer {logit}.'
        )


def as_numbers(answer: Any, outputs: Outputs) -> Array:
    """Return an answer as an array of real numbers, a table by the names of its columns. Raises
    ValueError for anything else."""
    _require_row_order(answer)
    columns = _columns(answer)
    if columns is None:
        return _as_array(answer)
    names = _names_due(list(columns), outputs, type(answer).__name__)
    return np.stack([_as_array(columns[name]) for name in names], axis=1)


def logits_of(probabilities: Array, *, exclusive: bool) -> Array:
    """Return logits (rows, classes) whose softmax, or sigmoid, are these probabilities; rows that
    have NaN stay so. Raises ValueError for a row that has no probabilities."""
    outside = (probabilities < -_SUM_TOLERANCE) | (probabilities > 1 + _SUM_TOLERANCE)
    is_wrong = outside.any(axis=1)
    if exclusive:
        sums = probabilities.sum(axis=1)
        is_wrong |= np.abs(sums - 1) > _SUM_TOLERANCE
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        due = "that sum to 1" if exclusive else "in 0..1"
        shown = _shown(probabilities[row])
        raise ValueError(f"row {row} of the answer has no probabilities {due}: {shown}")
    positive = np.maximum(probabilities, _LEAST)
    log_p = np.log(positive)
    if exclusive:  # the softmax of log p is p
        return np.asarray(log_p)
    log_not_p = np.log(np.maximum(1 - probabilities, _LEAST))
    log_odds = log_p - log_not_p
    return np.asarray(log_odds)


def look_like_probabilities(numbers: Array, *, exclusive: bool) -> bool:
    """Tell whether all rows (rows, classes) that are finite look like probabilities or, of
    exclusive classes, percentages."""
    finite = numbers[np.isfinite(numbers).all(axis=1)].astype(np.float64)
    if not finite.size or finite.min() < 0:
        return False
    if not exclusive:
        return finite.size >= _FEWEST_NUMBERS and bool(finite.max() <= 1)
    sums = finite.sum(axis=1)
    far_from = [np.abs(sums / whole - 1).max() for whole in (1, 100)]
    # of one class alone the sum is the number itself, which may lie near 1 by chance
    return numbers.shape[1] > 1 and bool(min(far_from) < _LOOKS_TOLERANCE)


def _columns(answer: Any) -> Mapping[str, Any] | None:
    """A table's columns by name; None of no table. Raises ValueError for a name twice."""
    if isinstance(answer, Mapping):
        return {str(name): column for name, column in answer.items()}
    names = getattr(answer, "column_names", None)  # Arrow
    if names is None:
        names = getattr(answer, "columns", None)  # pandas, Polars
    if names is None:
        names = getattr(getattr(answer, "dtype", None), "names", None)  # a structured array
    if names is None:
        return None
    twice = repeated([str(name) for name in names])
    if twice:
        raise ValueError(f"label() answered with a table that has columns twice: {twice}")
    return {str(name): answer[name] for name in names}


def _names_due(columns: Sequence[str], outputs: Outputs, table: str) -> Sequence[str]:
    """The columns in the order of the outputs. Raises ValueError where they have other names."""
    if outputs.kind == "value":
        if len(columns) == 1:
            return columns
        raise ValueError(
            f"label() answered with a {table} of {len(columns)} columns, and values have no names"
            " to match them by. Answer an array."
        )
    if sorted(columns) != sorted(outputs.classes):
        due = Outputs("logits", outputs.classes).in_words
        named = tuple(columns)
        theirs = Outputs("logits", named)
        found = theirs.in_words
        raise ValueError(
            f"label() answered with a {table} whose columns are not the classes: it has"
            f" {found.removeprefix('exclusive classes ')}, where {due.removeprefix('exclusive ')}"
            " are due. Name the columns so, or answer an array in the order of the classes."
        )
    return outputs.classes


def _require_row_order(answer: Any) -> None:
    """Refuse a pandas answer whose index says that rows moved. Raises ValueError."""
    index = getattr(answer, "index", None)
    if index is None or callable(index):  # a list's method
        return
    numbers = np.asarray(index)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf":
        return
    in_order = np.unique(numbers)
    # what stands there twice numbers no rows
    if len(in_order) == len(numbers) and not np.array_equal(numbers, in_order):
        raise ValueError(
            f"label() answered with a {type(answer).__name__} whose index says that its rows are in"
            " another order than the features. Sort it by its index, or answer an array."
        )


def _as_array(answer: Any) -> Array:
    """An answer without names as real numbers. Raises ValueError."""
    try:
        array = _plain_array(answer)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"label() answered with {_named(answer)}, {_DUE}: {error}") from None
    kind = getattr(array.dtype, "kind", "")
    # numpy itself knows no bfloat16 and no float8: ml_dtypes brings them as kind V
    if kind not in "biuf" and not array.dtype.name.startswith(("bfloat", "float")):
        first = f", such as {array.flat[0]!r}" if array.size and array.ndim else ""
        raise ValueError(f"label() answered with {_named(answer)} of {array.dtype}{first}, {_DUE}")
    if kind == "V":
        array = array.astype(np.float32)
    return array


def _plain_array(answer: Any) -> Array:
    if isinstance(answer, np.ma.MaskedArray):
        return _filled(answer)
    if hasattr(answer, "detach"):  # torch's
        return _from_torch(answer)
    if hasattr(answer, "isna") and getattr(answer.dtype, "kind", "") in "biuf":  # pandas'
        return np.asarray(answer.to_numpy(dtype=np.float64, na_value=np.nan))
    rows_are_arrays = isinstance(answer, list | tuple) and any(map(_is_array, answer))
    if rows_are_arrays:
        # one by one, since numpy would drop masks and does not know each tensor
        arrays = [_as_array(row) for row in answer]
        return np.stack(arrays)
    return np.asarray(answer)


def _is_array(row: Any) -> bool:
    if _columns(row) is not None or getattr(row, "isna", None) is not None:
        raise ValueError("its rows have names of their own, which would be lost")
    return hasattr(row, "__array__")


def _filled(masked: np.ma.MaskedArray[Any, Any]) -> Array:
    """NaN where the mask is."""
    # what lies under it is not meant
    if masked.dtype.kind not in "biuf" and not masked.dtype.name.startswith("bfloat"):
        return np.asarray(masked.data)
    wide = np.asarray(masked.data, np.float64)
    return np.where(np.ma.getmaskarray(masked), np.nan, wide)


def _from_torch(tensor: Any) -> Array:
    detached = tensor.detach()
    here = detached.cpu()
    if here.is_floating_point() and here.dtype.itemsize < 4:
        here = here.float()  # numpy has no bfloat16
    array = here.numpy()
    return np.asarray(array)


def _named(answer: Any) -> str:
    return "None" if answer is None else f"a {type(answer).__name__}"


def _shown(row: Array) -> str:
    numbers = [f"{number:.3g}" for number in row[:6]]
    if len(row) > len(numbers):
        numbers.append("…")
    return " ".join(numbers)
