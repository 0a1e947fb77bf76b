"""Lists of any length and lists of lists, as one list of numbers a row: how long they are, level by
level, and what most rows have."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Lengths = npt.NDArray[np.int64]
Shapes = npt.NDArray[np.int64]


def is_open_list(kind: pa.DataType) -> bool:
    """Whether a type holds lists of any length, or lists of such."""
    if pa.types.is_fixed_size_list(kind):
        return is_open_list(kind.value_type)
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def is_any_list(kind: pa.DataType) -> bool:
    """Whether a type holds lists, of any length or of one."""
    return is_open_list(kind) or bool(pa.types.is_fixed_size_list(kind))


def is_lists_of_lists(kind: pa.DataType) -> bool:
    """Whether a type holds lists of lists."""
    return is_any_list(kind) and is_any_list(kind.value_type)


def leaf_type(kind: pa.DataType) -> pa.DataType:
    """Return what lists, and lists of lists, hold in the end."""
    return leaf_type(kind.value_type) if is_any_list(kind) else kind


def flat_lists(array: pa.Array) -> tuple[pa.Array, Shapes]:
    """Return lists of lists as one list a row, and each row's shape (B, depth): -1 stands where its
    inner lists differ in length."""
    lengths = list_lengths(array)
    sides = [lengths]
    items = array.flatten()
    while is_any_list(items.type):
        inner_lengths = list_lengths(items)
        shared = _shared_length(inner_lengths, lengths)
        sides.append(shared)
        row = np.repeat(np.arange(len(array)), lengths)
        lengths = np.bincount(row, inner_lengths, minlength=len(array)).astype(np.int64)
        items = items.flatten()
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return pa.LargeListArray.from_arrays(offsets, items), np.stack(sides, axis=1)


def list_lengths(lists: pa.Array) -> Lengths:
    """Return the length of each list, 0 of null."""
    lengths_or_null = pc.list_value_length(lists)
    filled = pc.fill_null(lengths_or_null, 0)
    lengths: Lengths = filled.to_numpy(zero_copy_only=False).astype(np.int64)
    return lengths


def _shared_length(inner_lengths: Lengths, counts: Lengths) -> Lengths:
    """The length that all inner lists of a row have, of which there are `counts`; 0 where there are
    none, -1 where they differ."""
    filled = np.flatnonzero(counts)
    starts = np.cumsum(counts)[filled] - counts[filled]
    shared = np.zeros(len(counts), np.int64)
    shared[filled] = inner_lengths[starts]
    row = np.repeat(np.arange(len(counts)), counts)
    shared[row[inner_lengths != shared[row]]] = -1
    return shared


def list_sides(array: pa.Array, width: int) -> tuple[int, ...]:
    """Return the sides that most rows of `width` numbers have; empty of no lists of lists."""
    if not is_lists_of_lists(array.type):
        return ()
    _, shapes = flat_lists(array)
    return usual_sides(shapes[(shapes > 0).all(axis=1) & (shapes.prod(axis=1) == width)])


def usual_sides(shapes: Shapes) -> tuple[int, ...]:
    """Return the sides that most rows have; empty where there are none."""
    if not len(shapes) or (shapes == shapes[0]).all():  # the usual case, without a look at each
        return tuple(shapes[0].tolist()) if len(shapes) else ()
    ((usual, _),) = Counter(map(tuple, shapes.tolist())).most_common(1)
    return usual
