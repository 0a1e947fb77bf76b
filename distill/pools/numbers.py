"""Columns of numbers as float32, and for each row that holds none, the reason.

Text is read as numbers too, since CSV has nothing else: a cell that is no number is told with what
it says.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distill.core.errors import PoolError
from distill.pools.formats.base import UNDECODABLE, Rejected, is_text

Matrix = npt.NDArray[np.float32]
_NUMBER = r"^(?i:[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?nan|[+-]?inf(inity)?)$"
"""What pyarrow casts from text to a number."""


def column_width(schema: pa.Schema, name: str) -> int:
    """`value_width` of one column, whose name its error says."""
    try:
        return value_width(schema.field(name).type)
    except PoolError as error:
        raise PoolError(f"column {name!r}: {error}") from None


def value_width(kind: pa.DataType) -> int:
    """Numbers in one value of a type; text counts as one. Raises PoolError for what holds no
    numbers."""
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    if (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or is_text(kind)
    ):
        return 1
    raise PoolError(
        f"a column of type {kind} holds no numbers of a fixed count. Use numbers, fixed-size lists,"
        " or one list column alone."
    )


def check_numbers(first: pa.Table, name: str) -> None:
    """Refuse a column of text of whose first rows none is a number. Raises PoolError."""
    column = first[name]
    if not is_text(column.type) or not len(column):
        return
    said = next((text for text in column.to_pylist() if text), None)
    if not pc.any(are_numbers(column)).as_py():
        raise PoolError(
            f"column {name!r}: holds no numbers in its first {len(column)} rows, but text such as"
            f" {said!r}. Use `text` features, or another column."
        )


def check_flags(schema: pa.Schema, name: str, classes: int) -> None:
    """Refuse a target of independent classes whose type cannot hold 0 or 1 for each. Raises
    PoolError."""
    kind = schema.field(name).type
    if is_open_list(kind):
        return
    if (kind.list_size if pa.types.is_fixed_size_list(kind) else 1) != classes:
        raise PoolError(
            f"column {name!r} of type {kind}: independent outputs need 0 or 1 for each of {classes}"
            f" classes, a list a row. Store lists of {classes}, or leave `outputs` out where a row"
            " is of one class."
        )


def are_numbers(texts: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Which texts are numbers; null is none."""
    return pc.fill_null(pc.match_substring_regex(pc.utf8_trim_whitespace(texts), _NUMBER), False)


def is_open_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def number_column(table: pa.Table, name: str, width: int, rejected: Rejected) -> Matrix:
    """One column as (B, width), which may be the table's own memory; bad rows are zeros and named
    in `rejected`."""
    array = table[name].combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    rows = len(array)
    bad = null_rows(array, name, rejected)
    if is_text(array.type):
        array, bad = _from_text(array, name, bad, rejected)
    if not bad.any() and pa.types.is_fixed_size_list(array.type) and array.type.list_size == width:
        flat = array.flatten()
    elif is_open_list(array.type) or pa.types.is_fixed_size_list(array.type):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero((lengths != width) & ~bad):
            rejected.setdefault(
                int(row), ("shape", f"column {name!r} has {lengths[row]} numbers, not {width}")
            )
        bad |= lengths != width
        flat = array.filter(pa.array(~bad)).flatten() if bad.any() else array.flatten()
    elif width == 1:
        flat = array.filter(pa.array(~bad)) if bad.any() else array
    else:  # in another shard they are lists
        for row in np.flatnonzero(~bad):
            rejected.setdefault(
                int(row),
                (
                    "shape",
                    f"column {name!r} has one value, of type {array.type}, not {width} numbers",
                ),
            )
        return np.zeros((rows, width), np.float32)
    try:
        held: Matrix = (
            pc.cast(flat, pa.float32(), safe=False)
            .to_numpy(zero_copy_only=False)
            .reshape(-1, width)
        )
    except pa.ArrowException as error:
        raise PoolError(f"column {name!r} of type {array.type} holds no numbers: {error}") from None
    with np.errstate(over="ignore", invalid="ignore"):
        if not bad.any() and np.isfinite(held.sum()):  # so all of them are: one pass, and no copy
            return held
    values = np.zeros((rows, width), np.float32)
    values[~bad] = held
    unreal = ~np.isfinite(values).all(axis=1)
    for row in np.flatnonzero(unreal):
        rejected.setdefault(
            int(row), ("not_finite", f"column {name!r} holds a null, NaN or infinite number")
        )
    values[unreal] = 0
    return values


def _from_text(
    texts: pa.Array, name: str, bad: npt.NDArray[np.bool_], rejected: Rejected
) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """The numbers that texts write, null where they write none."""
    trimmed = pc.utf8_trim_whitespace(texts)
    try:
        return pc.cast(trimmed, pa.float64()), bad
    except pa.ArrowInvalid:
        written = are_numbers(texts)
        wrong = ~written.to_numpy(zero_copy_only=False) & ~bad
        for row in np.flatnonzero(wrong):
            said = f"column {name!r} holds {texts[int(row)].as_py()!r:.80}, which is no number"
            rejected.setdefault(int(row), (UNDECODABLE, said))
        return pc.cast(pc.if_else(written, trimmed, None), pa.float64()), bad | wrong


def null_rows(array: pa.Array, name: str, rejected: Rejected) -> npt.NDArray[np.bool_]:
    if not array.null_count:
        return np.zeros(len(array), np.bool_)
    nulls: npt.NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(nulls):
        rejected.setdefault(int(row), ("null", f"column {name!r} is null"))
    return nulls.copy()
