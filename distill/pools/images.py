"""Images as (height, width, channels) of bytes: encoded ones (`image_files`), or raw bytes as they are.

They stand in a column of binary, of lists of bytes, or in the struct of `bytes` and `path` that
Hugging Face's `datasets` writes.

A JPEG's bytes depend on the decoder, so commits record pillow's version.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distill.core.errors import PoolError
from distill.pools.formats.base import UNDECODABLE, Rejected, is_text
from distill.pools.image_columns import content_type, flat_images, image_content, shape_message
from distill.pools.image_files import MODES, BadImageError, decode_image, require_pillow
from distill.pools.nested_lists import is_any_list, leaf_type
from distill.pools.numbers import null_rows, reject_rows
from distill.spec.pools import ImageFeatures

Bytes = npt.NDArray[np.uint8]


def check_images(field: pa.Field, features: ImageFeatures) -> None:
    """Refuse a column that holds no images of the declared shape, and encoded ones that cannot be
    decoded here.

    Raises PoolError, MissingExtraError."""
    kind = content_type(field.type)
    field = field.with_type(kind)
    if _is_encoded(field.type, features):
        _check_encoded(field, features)
    else:
        _check_raw(field, features)


def check_image_type(field: pa.Field, features: ImageFeatures) -> None:
    """Refuse a column that holds no images of any shape. Raises PoolError, MissingExtraError."""
    any_size = _any_size(field.type, features)
    check_images(field, any_size)


def _check_encoded(field: pa.Field, features: ImageFeatures) -> None:
    kind = field.type
    if not is_binary(kind) and not is_text(kind):
        raise PoolError(
            f"column {field.name!r} of type {kind} holds no encoded images."
            " Store their bytes as binary."
        )
    if features.shape[2] not in MODES:
        raise PoolError(
            f"shape = {list(features.shape)}: encoded images have 1, 3 or 4 channels."
            " Correct the shape."
        )
    require_pillow()


def _check_raw(field: pa.Field, features: ImageFeatures) -> None:
    kind = field.type
    is_bytes = is_binary(kind) or pa.types.is_fixed_size_binary(kind)
    is_list = is_any_list(kind) and pa.types.is_integer(leaf_type(kind))
    if not is_bytes and not is_list:
        raise PoolError(
            f"column {field.name!r} of type {kind} holds no images."
            " Store PNG, JPEG or raw bytes as binary."
        )
    if features.preprocess is not None:
        raise PoolError(
            f"column {field.name!r} of type {kind} holds raw bytes, which are seen as they are, but"
            " the pool has `preprocess`. Leave it out, or store encoded images."
        )
    declared = math.prod(features.shape)
    found = _fixed_size(kind)
    if found is not None and found != declared:
        raise PoolError(
            f"column {field.name!r} of type {kind} holds {found} bytes a row, but shape ="
            f" {list(features.shape)} is {declared}. Correct the shape."
        )


def decode_images(column: pa.ChunkedArray, features: ImageFeatures) -> tuple[Bytes, Rejected]:
    """Decode a column into (B, H, W, C) uint8, and the rows that are none, which are zeros. Raises
    PoolError for a column of another type."""
    rejected: Rejected = {}
    if pa.types.is_struct(column.type):
        column = image_content(column, features.column, rejected)
    nulls = null_rows(column, features.column, rejected)
    values = np.zeros((len(column), *features.shape), np.uint8)
    if pa.types.is_null(column.type):
        return values, rejected
    kind = column.type
    field = pa.field(features.column, kind)
    any_size = _any_size(kind, features)
    check_images(field, any_size)
    if is_any_list(kind) and is_any_list(kind.value_type):
        column, others = flat_images(column, features)
        reject_rows(rejected, others & ~nulls, "shape", shape_message(features))
        nulls |= others
    encoded = _is_encoded(column.type, features)
    if not encoded and not nulls.any():
        size = math.prod(features.shape)
        pixels = _raw_at_once(column, size)
        if pixels is not None:
            return pixels.reshape(values.shape), rejected
    for row in np.flatnonzero(~nulls).tolist():
        content = column[row]
        try:
            if encoded:
                packed = content.as_py()
                values[row] = decode_image(packed, features)
            else:
                values[row] = _raw(content, features.shape)
        except BadImageError as error:
            code, message = error.args
            rejected[row] = (code, f"column {features.column!r} {message}")
    return values, rejected


def _fixed_size(kind: pa.DataType) -> int | None:
    """Bytes or items of every value of a type; None where its values differ."""
    if pa.types.is_fixed_size_binary(kind):
        return int(kind.byte_width)
    if pa.types.is_fixed_size_list(kind):
        inner = _fixed_size(kind.value_type) if is_any_list(kind.value_type) else 1
        return None if inner is None else int(kind.list_size) * inner
    return None


def _any_size(kind: pa.DataType, features: ImageFeatures) -> ImageFeatures:
    """`features` whose size suits any column."""
    # each row of a shard of another size is then rejected by name
    size = _fixed_size(kind)
    if _is_encoded(kind, features) or not size:
        return features
    return features.model_copy(update={"shape": (size, 1, 1)})


def is_binary(kind: pa.DataType) -> bool:
    """Whether a type holds bytes of any length."""
    types = pa.types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _is_encoded(kind: pa.DataType, features: ImageFeatures) -> bool:
    if features.encoded is not None:
        return features.encoded
    return is_binary(kind) or is_text(kind)


def _raw_at_once(column: pa.ChunkedArray, size: int) -> Bytes | None:
    """A column of raw bytes as (B, `size`), at once (0.2 µs a row of 768 bytes in place of 1.7);
    None where a row of it may be bad."""
    try:
        if is_any_list(column.type):
            return _lists_at_once(column, size)
        array = column.cast(pa.binary(size)).combine_chunks()
    except pa.ArrowInvalid:  # another length, or a number beyond a byte
        return None
    flat = np.frombuffer(array.buffers()[1], np.uint8)
    start = array.offset * size
    rows = flat[start : start + len(array) * size]
    # a copy, since Arrow's memory cannot be written to
    return rows.reshape(-1, size).copy()


def _lists_at_once(column: pa.ChunkedArray, size: int) -> Bytes | None:
    lengths = pc.list_value_length(column)
    of_size = pc.equal(lengths, size)
    if not pc.all(of_size).as_py():
        return None
    numbers = pc.list_flatten(column)
    flat = pc.cast(numbers, pa.uint8()).to_numpy()
    if numbers.null_count:
        return None
    rows: Bytes = flat.reshape(-1, size).copy()  # torch warns of what cannot be written
    return rows


def _raw(content: pa.Scalar, shape: Sequence[int]) -> Bytes:
    flat = _flat_bytes(content)
    if len(flat) != math.prod(shape):
        sides = map(str, shape)
        due = " × ".join(sides)
        raise BadImageError("shape", f"has {len(flat)} bytes, not {due}")
    return flat.reshape(shape)


def _flat_bytes(content: pa.Scalar) -> Bytes:
    if not isinstance(content, pa.ListScalar):
        packed = content.as_buffer()
        return np.frombuffer(packed, np.uint8)
    numbers = content.values
    least = pc.min(numbers)
    smallest = least.as_py()
    most = pc.max(numbers)
    largest = most.as_py()
    wrong = [number for number in (smallest, largest) if number not in range(256)]
    if numbers.null_count or wrong:
        example = wrong[0] if wrong else None
        raise BadImageError(UNDECODABLE, f"holds {example}, which is no byte")
    flat: Bytes = pc.cast(numbers, pa.uint8()).to_numpy(zero_copy_only=False)
    return flat
