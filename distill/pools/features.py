"""From columns to what a model sees, and for each row that cannot be used, the reason.

    vector    (B, F) float32
    image     (B, H, W, C) uint8
    text      (B,) object, of str

That is what a custom labeler is given. What distill trains takes numbers alone: an image becomes
(B, C·H·W) float32 in `as_matrix`, and for torch on its device in `models.network.as_tensor`, which
says the same.

A bad row keeps its slot, filled with zeros (or empty text), so that nothing behind it moves; the
caller nulls its label and writes down the reason.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distill.core.errors import PoolError
from distill.pools.formats.base import Rejected, is_text, value_type
from distill.pools.images import check_image_type, check_images, decode_images
from distill.pools.nested_lists import flat_lists, is_open_list, leaf_type
from distill.pools.numbers import (
    Matrix,
    check_numbers,
    column_width,
    null_rows,
    number_column,
    one_array,
    reject_rows,
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
    """Decode what `features` says of the rows of `table`, for a model that takes `width` numbers.

    Rows of another width or size, with nulls, NaN, infinity or damage are rejected. Raises
    PoolError for a column of a type that cannot hold them."""
    if isinstance(features, ImageFeatures):
        images, rejected = decode_images(table[features.column], features)
        return Rows(images, rejected)
    if isinstance(features, TextFeatures):
        column = table[features.column]
        return _decode_texts(column, features.column)
    return _decode_vectors(table, features, width)


def as_matrix(values: npt.NDArray[np.generic]) -> Matrix:
    """Return images (B, H, W, C) uint8 as (B, C·H·W) float32 in 0..1, channel by channel, as a
    `cnn` folds them; vectors as they are."""
    if values.ndim != 4:
        return values.astype(np.float32, copy=False)
    channels_first = np.ascontiguousarray(values.transpose(0, 3, 1, 2), np.float32)
    matrix: Matrix = channels_first.reshape(len(values), -1)
    matrix /= 255
    return matrix


def writable(features: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return the features, or a copy: what lies in a table's or in Ray's memory cannot be written
    to, and a labeler or a network may."""
    return features if features.flags.writeable else features.copy()


def check_feature_types(schema: pa.Schema, features: Features, where: str) -> None:
    """Refuse columns that hold no such features. Raises PoolError, MissingExtraError."""
    for name in features.columns:
        field = schema.field(name)
        kind = value_type(field.type)
        if pa.types.is_null(kind):
            continue
        try:
            if isinstance(features, VectorFeatures):
                value_width(leaf_type(kind))
            elif isinstance(features, TextFeatures):
                check_text(field)
            else:
                check_image_type(field, features)
        except PoolError as error:
            raise PoolError(f"{where}: column {name!r}: {error}") from None


def feature_width(schema: pa.Schema, features: Features, first: pa.Table) -> int:
    """Return how many numbers a row has once it is a matrix (a text has 1, itself).

    For a list of any length, as many as most of the rows `first` have that have any. Raises
    PoolError."""
    if isinstance(features, ImageFeatures):
        field = schema.field(features.column)
        check_images(field, features)
        return math.prod(features.shape)
    if isinstance(features, TextFeatures):
        field = schema.field(features.column)
        check_text(field)
        return 1
    for column in features.columns:
        check_numbers(first, column)
    return _vector_width(schema, features, first)


def check_text(field: pa.Field) -> None:
    """Refuse a column that holds no text. Raises PoolError."""
    if not is_text(value_type(field.type)):
        raise _no_text(field.name, field.type)


def _no_text(name: str, kind: pa.DataType) -> PoolError:
    return PoolError(
        f"column {name!r} of type {kind} holds no text. Store text there, or name a column of text."
    )


def _vector_width(schema: pa.Schema, features: VectorFeatures, first: pa.Table) -> int:
    name = features.columns[0]
    if len(features.columns) > 1 or not is_open_list(schema.field(name).type):
        return sum(column_width(schema, column) for column in features.columns)
    leaf = leaf_type(schema.field(name).type)
    value_width(leaf)
    _, shapes = flat_lists(one_array(first[name]))
    is_known = shapes > 0
    whole = is_known.all(axis=1)
    lengths: list[int] = shapes[whole].prod(axis=1).tolist()
    if not lengths:
        raise PoolError(
            f"column {name!r}: the first {len(first)} rows are null or empty, so its width is"
            " unknown. Use a fixed-size list."
        )
    # not those of the first row: a damaged one at the head of a file is one odd row, as elsewhere
    ((width, _),) = Counter(lengths).most_common(1)
    return width


def decode_target(column: pa.ChunkedArray, outputs: Outputs, width: int = 1) -> Rows:
    """Decode a target column: class numbers (B,) int64; 0 or 1 a class (B, C) float32 where
    independent; values (B, `width`) float32. Raises PoolError for a column of another type."""
    rejected: Rejected = {}
    are_classes = outputs.kind == "logits"
    if are_classes and outputs.exclusive:
        numbers = _class_numbers(column, outputs.classes, rejected)
        return Rows(numbers, rejected)
    columns = {"target": column}
    table = pa.table(columns)
    values = number_column(table, "target", len(outputs.classes) or width, rejected)
    if are_classes:
        is_flag = (values == 0) | (values == 1)
        for row in np.flatnonzero(~is_flag.all(axis=1)).tolist():
            message = f"{values[row].tolist()} is not 0 or 1 for each class"
            reason = ("target", message)
            rejected.setdefault(row, reason)
    values = _zeroed(values, rejected)
    return Rows(values, rejected)


def class_names(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a target column's values as text, as classes are written. Raises PoolError."""
    try:
        text = pa.string()
        return pc.cast(column, text)
    except pa.ArrowException:
        raise PoolError(
            f"the target column of type {column.type} holds no names of classes."
            " Name a column of text or of numbers."
        ) from None


def _class_numbers(
    column: pa.ChunkedArray, classes: tuple[str, ...], rejected: Rejected
) -> npt.NDArray[np.int64]:
    names = class_names(column)
    known = pa.array(classes)
    found = pc.index_in(names, known)
    filled = pc.fill_null(found, -1)
    numbers: npt.NDArray[np.int64] = filled.to_numpy().astype(np.int64)
    for row in np.flatnonzero(numbers < 0).tolist():
        message = f"{names[row].as_py()!r} is none of the target's classes"
        reason = ("target", message)
        rejected.setdefault(row, reason)
    return np.maximum(numbers, 0)


def _zeroed(values: Matrix, rejected: Rejected) -> Matrix:
    """The values with zeros in rejected rows."""
    if rejected:
        values = values if values.flags.writeable else values.copy()
        rows = list(rejected)
        values[rows] = 0
    return values


def _decode_texts(column: pa.ChunkedArray, name: str) -> Rows:
    # a format without types of its own calls a column of nothing but nulls so
    if not is_text(column.type) and not pa.types.is_null(column.type):
        raise _no_text(name, column.type)
    rejected: Rejected = {}
    null_rows(column, name, rejected)
    texts = pc.fill_null(column.cast(pa.string()), "")
    # objects: an array of text would have room for the longest in every row
    values = np.empty(len(column), object)
    values[:] = texts.to_pylist()
    return Rows(values, rejected)


def _decode_vectors(table: pa.Table, features: VectorFeatures, width: int) -> Rows:
    rejected: Rejected = {}
    values = _numbers(table, features, width, rejected)
    found = values.shape[1]
    if found != width:
        message = f"columns {list(features.columns)} have {found} numbers together, not {width}"
        rejected = dict.fromkeys(range(len(values)), ("shape", message)) | rejected
        values = np.zeros((len(values), width), np.float32)
    if features.scale != 1.0:
        values = _scaled(values, features.scale, rejected)
    values = _zeroed(values, rejected)
    return Rows(values, rejected)


def _numbers(table: pa.Table, features: VectorFeatures, width: int, rejected: Rejected) -> Matrix:
    """One column of `width` numbers, or several as wide as their types say, side by side."""
    if len(features.columns) == 1:
        return number_column(table, features.columns[0], width, rejected, features.sides)
    parts = []
    for name in features.columns:
        part_width = value_width(table.schema.field(name).type)
        part = number_column(table, name, part_width, rejected)
        parts.append(part)
    return np.hstack(parts)


def _scaled(values: Matrix, scale: float, rejected: Rejected) -> Matrix:
    # what float32 cannot hold becomes infinite, and its row is rejected
    with np.errstate(over="ignore"):
        factor = np.float32(scale)
        scaled: Matrix = values * factor
    infinite = ~np.isfinite(scaled).all(axis=1)
    reject_rows(rejected, infinite, "not_finite", f"a number times scale = {scale} is infinite")
    return scaled
