"""The value of each row of a chunk by which a slicing tells it apart, as text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.loader.sampler import Chunk
from distill.plan.slicing import LabelSlicing, Slicing
from distill.pools.inventory import Inventory
from distill.pools.row_cache import read_chunk
from distill.spec.outputs import Outputs

Array = npt.NDArray[np.float64]
Texts = npt.NDArray[np.object_]

NONE = "(none)"
_CHARACTERS = 80  # of a value: longer ones are cut, and are one slice where they begin alike


@dataclass(frozen=True)
class ChunkRows:
    """What slicings look at of the judged rows of one chunk."""

    chunk: Chunk
    inventory: Inventory
    judged: npt.NDArray[np.bool_]
    features: npt.NDArray[np.generic]
    truth: npt.NDArray[np.generic]
    outputs: Outputs  # what the truth means
    teacher: Array | None  # what the teacher predicts


def slice_values(slicing: Slicing, rows: ChunkRows) -> Texts:
    """Return (B,): the value of each judged row. Raises PoolError, StorageError."""
    if slicing.labels is not None:
        return label_values(slicing.labels, rows.chunk)[rows.judged]
    if slicing.column is not None:
        return _column_values(slicing, rows)
    return _OWN[slicing.name](slicing, rows)


def label_values(labels: LabelSlicing, chunk: Chunk) -> Texts:
    """Return (B,): what a label set says of a chunk's rows. Raises ContractError, StorageError."""
    read = labels.column.load(chunk, pa.table({}))
    if "index" in read:
        said = [labels.classes[number] for number in read["index"][:, 0]]
    elif labels.classes:
        said = [labels.classes[number] for number in read["outputs"].argmax(axis=1)]
    else:
        # a cluster, or a place on a map
        numbers = np.rint(read["outputs"]).astype(np.int64)
        said = [",".join(map(str, row)) for row in numbers.tolist()]
    values = np.array(said, object)
    values[read["weight"] <= 0] = NONE  # type: ignore[operator]
    return values


def binned(numbers: Array, edges: tuple[float, ...]) -> Texts:
    """Return the bin of each number in words; NaN is in none."""
    names = [f"below {edges[0]:g}"]
    names += [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    names.append(f"from {edges[-1]:g}")
    bins = np.searchsorted(np.array(edges), numbers, side="right")
    values = np.array(names, object)[bins]
    is_nan = np.isnan(numbers)
    values[is_nan] = NONE
    return values


def _column_values(slicing: Slicing, rows: ChunkRows) -> Texts:
    name = str(slicing.column)
    wanted = range(rows.chunk.start, rows.chunk.start + rows.chunk.rows)
    batch = read_chunk(rows.inventory, rows.chunk.shard, wanted, (name,))
    column = batch.table[name].filter(pa.array(rows.judged))
    if slicing.edges:
        numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return binned(numbers.astype(np.float64), slicing.edges)
    texts = [NONE if each is None else str(each)[:_CHARACTERS] for each in column.to_pylist()]
    return np.array(texts, object)


def _classes(_: Slicing, rows: ChunkRows) -> Texts:
    names = np.array(rows.outputs.classes, object)
    return np.asarray(names[rows.truth.astype(np.int64)])


def _confidence(slicing: Slicing, rows: ChunkRows) -> Texts:
    teacher = rows.teacher
    if teacher is None:
        return np.full(len(rows.truth), NONE, object)
    sure = teacher if rows.outputs.exclusive else np.maximum(teacher, 1 - teacher)
    confidence = sure.max(axis=1) if rows.outputs.exclusive else sure.mean(axis=1)
    return binned(confidence, slicing.edges)


def _length(slicing: Slicing, rows: ChunkRows) -> Texts:
    lengths = np.array([len(str(text)) for text in rows.features], np.float64)
    return binned(lengths, slicing.edges)


_OWN: dict[str, Callable[[Slicing, ChunkRows], Texts]] = {
    "class": _classes,
    "confidence": _confidence,
    "length": _length,
}
