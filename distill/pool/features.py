"""From columns to what a model sees: a float32 matrix, and for each row that cannot be used, the reason.

A bad row keeps its slot, filled with zeros, so that nothing behind it moves; the caller nulls its label and writes down the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distill.errors import PoolError
from distill.job import Outputs, VectorFeatures

Matrix = npt.NDArray[np.float32]


@dataclass
class Rows:
    """`values` is (B, F) float32, or class numbers (B,) int64; `rejected` maps a row's offset to (reason code, message)."""

    values: npt.NDArray[np.generic]
    rejected: dict[int, tuple[str, str]] = field(default_factory=dict)


def decode_features(table: pa.Table, features: VectorFeatures, width: int) -> Rows:
    """The columns of `features` side by side, scaled: (B, width). Rows of another width, with nulls, NaN or infinity are rejected."""
    rejected: dict[int, tuple[str, str]] = {}
    if len(features.columns) == 1:
        values = _column(table, features.columns[0], width, rejected)
    else:
        widths = [value_width(table.schema.field(name).type) for name in features.columns]
        values = np.hstack(
            [_column(table, name, part, rejected) for name, part in zip(features.columns, widths, strict=True)]
        )
    if features.scale != 1.0:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and its row is rejected
            values = values * np.float32(features.scale)
        for row in np.flatnonzero(~np.isfinite(values).all(axis=1)):
            rejected.setdefault(int(row), ("not_finite", f"a number times scale = {features.scale} is infinite"))
    values[list(rejected)] = 0
    return Rows(values, rejected)


def decode_target(column: pa.ChunkedArray, outputs: Outputs) -> Rows:
    """A target column: class numbers (B,) int64; 0 or 1 a class (B, C) float32 where independent; values (B, W) float32."""
    rejected: dict[int, tuple[str, str]] = {}
    if outputs.kind == "logits" and outputs.exclusive:
        return Rows(_class_numbers(column, outputs.classes, rejected), rejected)
    width = len(outputs.classes) or value_width(column.type)
    values = _column(pa.table({"target": column}), "target", width, rejected)
    if outputs.kind == "logits":
        for row in np.flatnonzero(((values != 0) & (values != 1)).any(axis=1)):
            rejected.setdefault(int(row), ("target", f"{values[row].tolist()} is not 0 or 1 for each class"))
    values[list(rejected)] = 0
    return Rows(values, rejected)


def feature_width(schema: pa.Schema, features: VectorFeatures, first: pa.Table) -> int:
    """Numbers a row has; for a list of any length, as many as the first of the rows `first` that has any. Raises PoolError."""
    name = features.columns[0]
    if len(features.columns) > 1 or not _is_open_list(schema.field(name).type):
        return sum(column_width(schema, column) for column in features.columns)
    lengths = [length for length in pc.list_value_length(first[name]).to_pylist() if length]
    if not lengths:
        raise PoolError(
            f"column {name!r}: the first {len(first)} rows are null or empty, so its width is unknown. Use a fixed-size list."
        )
    return int(lengths[0])


def column_width(schema: pa.Schema, name: str) -> int:
    """`value_width` of one column, whose name its error says."""
    try:
        return value_width(schema.field(name).type)
    except PoolError as error:
        raise PoolError(f"column {name!r}: {error}") from None


def value_width(kind: pa.DataType) -> int:
    """Numbers in one value of a type. Raises PoolError for what holds no numbers."""
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return 1
    raise PoolError(
        f"a column of type {kind} holds no numbers of a fixed count. Use numbers, fixed-size lists, or one list column alone."
    )


def _is_open_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _column(table: pa.Table, name: str, width: int, rejected: dict[int, tuple[str, str]]) -> Matrix:
    """One column as (B, width); bad rows are zeros and named in `rejected`."""
    array = table[name].combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    rows = len(array)
    bad = _nulls(array, name, rejected)
    if _is_open_list(array.type) or pa.types.is_fixed_size_list(array.type):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero((lengths != width) & ~bad):
            rejected.setdefault(int(row), ("shape", f"column {name!r} has {lengths[row]} numbers, not {width}"))
        bad |= lengths != width
        flat = array.filter(pa.array(~bad)).flatten() if bad.any() else array.flatten()
    else:
        flat = array.filter(pa.array(~bad)) if bad.any() else array
    values = np.zeros((rows, width), np.float32)
    try:
        values[~bad] = pc.cast(flat, pa.float32(), safe=False).to_numpy(zero_copy_only=False).reshape(-1, width)
    except pa.ArrowException as error:
        raise PoolError(f"column {name!r} of type {array.type} holds no numbers: {error}") from None
    unreal = ~np.isfinite(values).all(axis=1)
    for row in np.flatnonzero(unreal):
        rejected.setdefault(int(row), ("not_finite", f"column {name!r} holds a null, NaN or infinite number"))
    values[unreal] = 0
    return values


def _nulls(array: pa.Array, name: str, rejected: dict[int, tuple[str, str]]) -> npt.NDArray[np.bool_]:
    if not array.null_count:
        return np.zeros(len(array), np.bool_)
    nulls: npt.NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(nulls):
        rejected.setdefault(int(row), ("null", f"column {name!r} is null"))
    return nulls.copy()


def _class_numbers(
    column: pa.ChunkedArray, classes: tuple[str, ...], rejected: dict[int, tuple[str, str]]
) -> npt.NDArray[np.int64]:
    try:
        names = pc.cast(column, pa.string())
    except pa.ArrowException as error:
        raise PoolError(f"the target column of type {column.type} holds no names of classes: {error}") from None
    found = pc.index_in(names, pa.array(classes)).to_numpy(zero_copy_only=False)
    numbers = np.where(np.isnan(found), -1, found) if found.dtype.kind == "f" else found
    for row in np.flatnonzero(numbers < 0):
        said = names[int(row)].as_py()
        rejected.setdefault(int(row), ("target", f"{said!r} is none of the target's classes"))
    return np.maximum(numbers, 0).astype(np.int64)
