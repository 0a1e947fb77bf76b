"""Columns of numbers as float32, and for each row that holds none, the reason."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distill.core.errors import PoolError
from distill.pools.formats.base import UNDECODABLE, Rejected, is_text
from distill.pools.nested_lists import (
    Shapes,
    flat_lists,
    is_any_list,
    is_lists_of_lists,
    is_open_list,
    leaf_type,
    list_lengths,
    usual_sides,
)

Matrix = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
# what pyarrow casts from text to a number
_NUMBER = r"^(?i:[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?nan|[+-]?inf(inity)?)$"
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+\s*")


def column_width(schema: pa.Schema, name: str) -> int:
    """Return the `value_width` of one column. Raises PoolError, which names the column."""
    try:
        field = schema.field(name)
        return value_width(field.type)
    except PoolError as error:
        raise PoolError(f"column {name!r}: {error}") from None


def value_width(kind: pa.DataType) -> int:
    """Return how many numbers one value of a type is; text counts as one, and so does the type of a
    column that is null throughout.

    Raises PoolError for what holds no numbers."""
    types = pa.types
    if types.is_fixed_size_list(kind):
        return int(kind.list_size) * value_width(kind.value_type)
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    if is_number or types.is_boolean(kind) or types.is_null(kind) or is_text(kind):
        return 1
    raise PoolError(
        f"a column of type {kind} holds no numbers of a fixed count."
        " Use numbers, fixed-size lists, or one list column alone."
    )


def check_numbers(first: pa.Table, name: str) -> None:
    """Refuse a column of text of whose first rows none is a number. Raises PoolError."""
    column = first[name]
    if not is_text(leaf_type(column.type)) or not len(column):
        return
    texts = column
    while is_any_list(texts.type):
        texts = pc.list_flatten(texts)
    example = next((text for text in texts.to_pylist() if text), None)
    if example is not None and not pc.any(are_numbers(texts)).as_py():
        advice = "Use `text` features, or another column."
        if _DECIMAL_COMMA.fullmatch(example):
            advice = "Write numbers with a decimal point."
        raise PoolError(
            f"column {name!r}: holds no numbers in its first {len(column)} rows, but text such as"
            f" {example!r}. {advice}"
        )


def check_flags(schema: pa.Schema, name: str, classes: int) -> None:
    """Refuse a target of independent classes that cannot hold 0 or 1 for each. Raises PoolError."""
    field = schema.field(name)
    kind = field.type
    if is_open_list(kind):
        return
    width = kind.list_size if pa.types.is_fixed_size_list(kind) else 1
    if width != classes:
        raise PoolError(
            f"column {name!r} of type {kind}: independent outputs need 0 or 1 for each of {classes}"
            f" classes, a list a row. Store lists of {classes},"
            " or leave `outputs` out where a row is of one class."
        )


def are_numbers(texts: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Tell which texts are numbers; null is none."""
    trimmed = pc.utf8_trim_whitespace(texts)
    matches = pc.match_substring_regex(trimmed, _NUMBER)
    return pc.fill_null(matches, False)


def number_column(
    table: pa.Table, name: str, width: int, rejected: Rejected, sides: tuple[int, ...] = ()
) -> Matrix:
    """Return one column as (B, width), which may be the table's own memory; bad rows are zeros and
    named in `rejected`: of lists of lists also those of other `sides` than are due, or, where they
    are not known, than most of these rows have. Raises PoolError where its type holds no
    numbers."""
    column = table[name]
    array = one_array(column)
    bad = null_rows(array, name, rejected)
    # CSV has nothing but text
    if is_text(array.type):
        array, bad = _from_text(array, name, bad, rejected)
    if is_any_list(array.type):
        array, wrong = _lists_of(array, name, width, bad, rejected, sides=sides)
        bad |= wrong
        array, wrong = _with_numbers(array, name, bad, rejected)
        bad |= wrong
    elif width != 1:  # in another shard they are lists
        message = f"column {name!r} has one value, of type {array.type}, not {width} numbers"
        reject_rows(rejected, ~bad, "shape", message)
        return np.zeros((len(array), width), np.float32)
    good = array.filter(pa.array(~bad)) if bad.any() else array
    try:
        found = _as_matrix(good, width)
    except pa.ArrowException as error:
        raise PoolError(f"column {name!r} of type {array.type} holds no numbers: {error}") from None
    with np.errstate(over="ignore", invalid="ignore"):
        # a finite sum has finite terms alone: one pass, and no copy
        if not bad.any() and np.isfinite(found.sum()):
            return found
    values = np.zeros((len(array), width), np.float32)
    values[~bad] = found
    unreal = ~np.isfinite(values).all(axis=1)
    message = f"column {name!r} holds a null, NaN or infinite number"
    reject_rows(rejected, unreal, "not_finite", message)
    values[unreal] = 0
    return values


def null_rows(array: pa.Array | pa.ChunkedArray, name: str, rejected: Rejected) -> Mask:
    """Return which rows are null, and reject them."""
    if not array.null_count:
        return np.zeros(len(array), np.bool_)
    nulls: Mask = array.is_null().to_numpy(zero_copy_only=False)
    reject_rows(rejected, nulls, "null", f"column {name!r} is null")
    # callers add to the mask, and Arrow's memory cannot be written to
    return nulls.copy()


def reject_rows(rejected: Rejected, rows: npt.ArrayLike, code: str, message: str) -> None:
    """Reject the rows where `rows` is true, for the same reason; the first reason of a row stays."""
    for row in np.flatnonzero(rows).tolist():
        reason = (code, message)
        rejected.setdefault(row, reason)


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """Return the chunks of a column as one array; the one that it has as it is."""
    if column.num_chunks == 1:
        return column.chunk(0)
    combined = column.combine_chunks()
    # of some types pyarrow gives one chunk in place of an array
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined


def _lists_of(
    lists: pa.Array, name: str, width: int, bad: Mask, rejected: Rejected, *, sides: tuple[int, ...]
) -> tuple[pa.Array, Mask]:
    """One list of numbers a row, and which rows do not hold `width` of them; those that are not
    `bad` yet are rejected for it."""
    wrong = np.zeros(len(lists), np.bool_)
    if is_lists_of_lists(lists.type):
        lists, shapes = flat_lists(lists)
        is_missing = shapes < 0
        wrong |= is_missing.any(axis=1)
        message = f"column {name!r} holds lists of several lengths in one row"
        is_new = wrong & ~bad
        reject_rows(rejected, is_new, "shape", message)
        fits = ~bad & ~wrong & (shapes.prod(axis=1) == width)
        wrong |= _other_shapes(shapes, fits, sides or usual_sides(shapes[fits]), name, rejected)
    if pa.types.is_fixed_size_list(lists.type) and lists.type.list_size == width:
        return lists, wrong
    lengths = list_lengths(lists)
    is_other = lengths != width
    for row in np.flatnonzero(is_other & ~bad & ~wrong).tolist():
        message = f"column {name!r} has {lengths[row]} numbers, not {width}"
        reason = ("shape", message)
        rejected.setdefault(row, reason)
    return lists, wrong | is_other


def _other_shapes(
    shapes: Shapes, fits: Mask, usual: tuple[int, ...], name: str, rejected: Rejected
) -> Mask:
    """Which of the rows that `fits` marks have other sides than are usual; they are rejected."""
    # 2 × 3 numbers are not in the order of 3 × 2
    if not usual:
        return np.zeros(len(shapes), np.bool_)
    wrong: Mask = fits & (shapes != usual).any(axis=1)
    for row in np.flatnonzero(wrong).tolist():
        found = " × ".join(map(str, shapes[row]))
        sides = map(str, usual)
        due = " × ".join(sides)
        message = f"column {name!r} holds {found} numbers, where most rows hold {due}"
        reason = ("shape", message)
        rejected.setdefault(row, reason)
    return wrong


def _with_numbers(
    lists: pa.Array, name: str, bad: Mask, rejected: Rejected
) -> tuple[pa.Array, Mask]:
    """Lists of texts as the lists of numbers that they write, others as they are; and which rows
    have a text that is no number: those that are not `bad` yet are rejected for it."""
    wrong = np.zeros(len(lists), np.bool_)
    if not is_text(lists.type.value_type):
        return lists, wrong
    texts = lists.flatten()
    is_other = ~are_numbers(texts).to_numpy(zero_copy_only=False)
    are_valid = texts.is_valid()
    is_other &= are_valid.to_numpy(zero_copy_only=False)
    lengths = list_lengths(lists)
    row_of = np.repeat(np.arange(len(lists)), lengths)
    for item in np.flatnonzero(is_other).tolist():
        row = row_of[item]
        wrong[row] = True
        if not bad[row]:
            message = f"column {name!r} holds {texts[item].as_py()!r:.80}, which is no number"
            rejected.setdefault(int(row), (UNDECODABLE, message))
    written = pc.if_else(pa.array(~is_other), pc.utf8_trim_whitespace(texts), None)
    numbers = pc.cast(written, pa.float64())
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return pa.LargeListArray.from_arrays(offsets, numbers), wrong


def _as_matrix(array: pa.Array, width: int) -> Matrix:
    """An array of numbers, or of lists of `width` numbers each, as (B, width)."""
    flat = array.flatten() if is_any_list(array.type) else array
    if pa.types.is_decimal(flat.type):
        flat = pc.cast(flat, pa.float64())  # the direct way to float32 rounds 0.09 wrongly
    numbers = pc.cast(flat, pa.float32(), safe=False)
    matrix: Matrix = numbers.to_numpy(zero_copy_only=False).reshape(-1, width)
    return matrix


def _from_text(texts: pa.Array, name: str, bad: Mask, rejected: Rejected) -> tuple[pa.Array, Mask]:
    """The numbers that texts write, null where they write none; and which rows are bad now."""
    trimmed = pc.utf8_trim_whitespace(texts)
    try:
        return pc.cast(trimmed, pa.float64()), bad
    except pa.ArrowInvalid:
        written = are_numbers(texts)
        wrong = ~written.to_numpy(zero_copy_only=False) & ~bad
        for row in np.flatnonzero(wrong).tolist():
            scalar = texts[row]
            text = scalar.as_py()
            message = f"column {name!r} holds {text!r:.80}, which is no number"
            reason = (UNDECODABLE, message)
            rejected.setdefault(row, reason)
        numbers = pc.cast(pc.if_else(written, trimmed, None), pa.float64())
        return numbers, bad | wrong
