"""Columns of images that are no plain bytes: Hugging Face's struct, and lists of lists of bytes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distill.pools.formats.base import UNDECODABLE, Rejected
from distill.pools.nested_lists import flat_lists
from distill.pools.numbers import Mask, one_array
from distill.spec.pools import ImageFeatures


def content_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of an image's bytes, of Hugging Face's struct that of its `bytes`."""
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return kind.field("bytes").type
    return kind


def image_content(column: pa.ChunkedArray, name: str, rejected: Rejected) -> pa.ChunkedArray:
    """Return the bytes of Hugging Face's struct; rows that only name a file are rejected."""
    if content_type(column.type) == column.type:
        return column  # another struct, which `check_images` refuses
    content = pc.struct_field(column, "bytes")
    if content.null_count and column.type.get_field_index("path") >= 0:
        paths = pc.struct_field(column, "path")
        only_named = pc.and_(content.is_null(), paths.is_valid()).to_numpy()
        for row in np.flatnonzero(only_named).tolist():
            message = f"column {name!r} names the file {paths[row].as_py()!r} and lacks its bytes"
            rejected[row] = (UNDECODABLE, message)
    return content


def flat_images(column: pa.ChunkedArray, features: ImageFeatures) -> tuple[pa.ChunkedArray, Mask]:
    """Return lists of lists as one list of bytes a row, and which rows have another shape.

    Their levels are height, width and channels; a grey image may leave out the last."""
    lists, shapes = flat_lists(one_array(column))
    shape: tuple[int, ...] = features.shape
    if shapes.shape[1] == 2 and shape[2] == 1:
        shape = shape[:2]
    if shapes.shape[1] != len(shape):
        return pa.chunked_array([lists]), np.ones(len(column), np.bool_)
    return pa.chunked_array([lists]), (shapes != shape).any(axis=1)


def shape_message(features: ImageFeatures) -> str:
    """Return why such a row is rejected."""
    due = " × ".join(map(str, features.shape))
    return f"column {features.column!r} holds lists of another shape than {due}"
