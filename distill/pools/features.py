"""From columns to what a model sees, and for each row that cannot be used, the reason.

    vector    (B, F) float32          image    (B, H, W, C) uint8          text    (B,) object, of str

That is what a custom labeler is given. What distill trains takes numbers alone: an image becomes (B, C·H·W) float32 in
`as_matrix`, and for torch on its device in `models.network.as_tensor`, which says the same.

A bad row keeps its slot, filled with zeros (or empty text), so that nothing behind it moves; the caller nulls its label and writes down the reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distill.core.errors import PoolError
from distill.pools.formats.base import Rejected, is_text
from distill.pools.images import check_images, decode_images
from distill.pools.numbers import (
    Matrix,
    check_numbers,
    column_width,
    is_open_list,
    null_rows,
    number_column,
    value_width,
)
from distill.spec.outputs import Outputs
from distill.spec.pools import Features, ImageFeatures, TextFeatures, VectorFeatures


@dataclass
class Rows:
    """`values` of B rows as above, or class numbers (B,) int64; `rejected` maps a row's offset to
    (reason code, message)."""

    values: npt.NDArray[np.generic]
    rejected: Rejected = field(default_factory=dict)


def decode_features(table: pa.Table, features: Features, width: int) -> Rows:
    """What `features` says of the rows of `table`. Rows of another width or size, with nulls, NaN,
    infinity or damage are rejected."""
    if isinstance(features, ImageFeatures):
        return Rows(*decode_images(table[features.column], features))
    if isinstance(features, TextFeatures):
        return _decode_texts(table, features.column)
    return _decode_vectors(table, features, width)


def as_matrix(values: npt.NDArray[np.generic]) -> Matrix:
    """Images (B, H, W, C) uint8 as (B, C·H·W) float32 in 0..1, channel by channel, as a `cnn` folds
    them; vectors as they are."""
    if values.ndim != 4:
        return values.astype(np.float32, copy=False)
    made: Matrix = np.ascontiguousarray(values.transpose(0, 3, 1, 2), np.float32).reshape(
        len(values), -1
    )
    made /= 255
    return made


def writable(features: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Themselves, or a copy: what lies in a table's or in Ray's memory cannot be written to, and a
    labeler or a network may."""
    return features if features.flags.writeable else features.copy()


def feature_width(schema: pa.Schema, features: Features, first: pa.Table) -> int:
    """Numbers a row has once it is a matrix (a text has 1, itself). Raises PoolError.

    For a list of any length, as many as the first of the rows `first` that has any.
    """
    if isinstance(features, ImageFeatures):
        check_images(schema.field(features.column), features)
        return math.prod(features.shape)
    if isinstance(features, TextFeatures):
        if not is_text(_plain_type(schema, features.column)):
            raise PoolError(
                f"column {features.column!r} of type {schema.field(features.column).type} holds no"
                " text. Store text there, or name a column of text."
            )
        return 1
    for column in features.columns:
        check_numbers(first, column)
    return _vector_width(schema, features, first)


def _vector_width(schema: pa.Schema, features: VectorFeatures, first: pa.Table) -> int:
    name = features.columns[0]
    if len(features.columns) > 1 or not is_open_list(schema.field(name).type):
        return sum(column_width(schema, column) for column in features.columns)
    lengths = [length for length in pc.list_value_length(first[name]).to_pylist() if length]
    if not lengths:
        raise PoolError(
            f"column {name!r}: the first {len(first)} rows are null or empty, so its width is"
            " unknown. Use a fixed-size list."
        )
    return int(lengths[0])


def decode_target(column: pa.ChunkedArray, outputs: Outputs, width: int = 1) -> Rows:
    """A target column: class numbers (B,) int64; 0 or 1 a class (B, C) float32 where independent;
    values (B, `width`) float32."""
    rejected: Rejected = {}
    if outputs.kind == "logits" and outputs.exclusive:
        return Rows(_class_numbers(column, outputs.classes, rejected), rejected)
    values = number_column(
        pa.table({"target": column}), "target", len(outputs.classes) or width, rejected
    )
    if outputs.kind == "logits":
        for row in np.flatnonzero(((values != 0) & (values != 1)).any(axis=1)):
            rejected.setdefault(
                int(row), ("target", f"{values[row].tolist()} is not 0 or 1 for each class")
            )
    return Rows(_without(values, rejected), rejected)


def _without(values: Matrix, rejected: Rejected) -> Matrix:
    """Zeros in the place of rejected rows."""
    if rejected:
        values = values if values.flags.writeable else values.copy()
        values[list(rejected)] = 0
    return values


def _plain_type(schema: pa.Schema, name: str) -> pa.DataType:
    kind = schema.field(name).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _decode_texts(table: pa.Table, name: str) -> Rows:
    rejected: Rejected = {}
    column = table[name]
    if not is_text(column.type) and not pa.types.is_null(column.type):
        raise PoolError(
            f"column {name!r} of type {column.type} holds no text. Store text there, or name a"
            " column of text."
        )
    null_rows(column, name, rejected)
    values = np.empty(len(column), object)
    values[:] = pc.fill_null(column.cast(pa.string()), "").to_pylist()
    return Rows(values, rejected)


def _decode_vectors(table: pa.Table, features: VectorFeatures, width: int) -> Rows:
    rejected: Rejected = {}
    if len(features.columns) == 1:
        values = number_column(table, features.columns[0], width, rejected)
    else:
        widths = [value_width(table.schema.field(name).type) for name in features.columns]
        values = np.hstack(
            [
                number_column(table, name, part, rejected)
                for name, part in zip(features.columns, widths, strict=True)
            ]
        )
        if values.shape[1] != width:
            said = (
                f"columns {list(features.columns)} have {values.shape[1]} numbers together, not"
                f" {width}"
            )
            rejected = dict.fromkeys(range(len(values)), ("shape", said)) | rejected
            values = np.zeros((len(values), width), np.float32)
    if features.scale != 1.0:
        with np.errstate(
            over="ignore"
        ):  # what float32 cannot hold becomes infinite, and its row is rejected
            values = values * np.float32(features.scale)
        for row in np.flatnonzero(~np.isfinite(values).all(axis=1)):
            rejected.setdefault(
                int(row), ("not_finite", f"a number times scale = {features.scale} is infinite")
            )
    return Rows(_without(values, rejected), rejected)


def _class_numbers(
    column: pa.ChunkedArray, classes: tuple[str, ...], rejected: Rejected
) -> npt.NDArray[np.int64]:
    try:
        names = pc.cast(column, pa.string())
    except pa.ArrowException as error:
        raise PoolError(
            f"the target column of type {column.type} holds no names of classes: {error}"
        ) from None
    found = pc.index_in(names, pa.array(classes)).to_numpy(zero_copy_only=False)
    numbers = np.where(np.isnan(found), -1, found) if found.dtype.kind == "f" else found
    for row in np.flatnonzero(numbers < 0):
        said = names[int(row)].as_py()
        rejected.setdefault(int(row), ("target", f"{said!r} is none of the target's classes"))
    return np.maximum(numbers, 0).astype(np.int64)
