"""Some rows of a dataset, as a dataset of its own: what a learning curve is taught on.

Which rows is a pure function of how many there are, how many are wanted and a seed: those with the
smallest hashes. So fewer rows are a part of more, and another seed is another draw. To everything
that trains, the rows lie in one shard of one pool, in the order of the dataset, one row group: they
are few, and kept in memory once they were read (`loader.cache`).

Where they lie close, a chunk of them is read from a chunk of the dataset around them; else one by
one, which decodes each row group once as long as the reader keeps it (`pools.row_cache`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from distill.loader.dataset import Arrays, Dataset
from distill.loader.sampler import Chunk
from distill.pools.hashing import GOLDEN, mixed

Numbers = npt.NDArray[np.int64]

_SEEDS = 0xD1B54A32D192ED03
_64_BITS = (1 << 64) - 1
_HASHED_AT_ONCE = 1 << 20
_READ_ROWS = 4_096
"""Of the dataset, around rows that are wanted."""
_DENSE = 16
"""They are read together where one row of so many is wanted, or more."""


def drawn_rows(total: int, count: int, seed: int) -> Numbers:
    """Return `count` of so many rows by number, sorted: those of the smallest hashes."""
    numbers = np.zeros(0, np.int64)
    hashes = np.zeros(0, np.uint64)
    offset = np.uint64((seed * _SEEDS) & _64_BITS)
    for start in range(0, total, _HASHED_AT_ONCE):
        row = np.arange(start, min(start + _HASHED_AT_ONCE, total))
        spread = row.astype(np.uint64) * np.uint64(GOLDEN)
        numbers = np.concatenate([numbers, row])
        hashes = np.concatenate([hashes, mixed(spread + offset)])
        smallest = np.argsort(hashes, kind="stable")[:count]
        numbers = numbers[smallest]
        hashes = hashes[smallest]
    return np.sort(numbers)


@dataclass(frozen=True, eq=False)
class Subset(Dataset):
    """Some rows of the dataset that all its other fields are of."""

    picked: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))
    """Their numbers in it, sorted."""

    @classmethod
    def of(cls, dataset: Dataset, picked: Numbers) -> Subset:
        """Return those rows of a dataset."""
        own = {each.name: getattr(dataset, each.name) for each in fields(Dataset)}
        return cls(**own, picked=picked)

    @property
    def rows(self) -> int:
        """How many they are."""
        return len(self.picked)

    @property
    def groups(self) -> list[list[list[int]]]:
        """One pool of one shard of one row group."""
        return [[[self.rows]]]

    def row_numbers(self, chunk: Chunk) -> Numbers:
        """Return the numbers of a chunk's rows in the dataset that they are of."""
        return self.picked[chunk.start : chunk.start + chunk.rows]

    def load(self, chunk: Chunk) -> Arrays:
        """Read the arrays of one chunk, not to be written to. Raises as `Dataset.load`."""
        parts = [self._read_part(around, rows) for around, rows in self._around(chunk)]
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for values in arrays.values():
            values.flags.writeable = False
        return arrays

    def pieces(self) -> Iterator[tuple[Chunk, Numbers]]:
        """Yield chunks of the whole dataset that together have every row, each with the places of
        the rows in it; `learned` takes such a chunk."""
        for around, rows in self._around(Chunk(0, 0, 0, self.rows)):
            first, *_ = self._whole.row_numbers(around)
            yield around, rows - first

    @cached_property
    def _whole(self) -> Dataset:
        """The dataset that they are of."""
        return Dataset(**{each.name: getattr(self, each.name) for each in fields(Dataset)})

    def _read_part(self, around: Chunk, rows: Numbers) -> Arrays:
        first, *_ = self._whole.row_numbers(around)
        loaded = self._whole.load(around)
        return {name: values[rows - first] for name, values in loaded.items()}

    def _around(self, chunk: Chunk) -> Iterator[tuple[Chunk, Numbers]]:
        """Chunks of the dataset with those of the wanted rows that each has, in order."""
        rows = self.row_numbers(chunk)
        while len(rows):
            found = self._whole.chunk_of(int(rows[0]))
            shard_rows = int(self.inventories[found.pool].shard_rows[found.shard])
            # what lies between the first wanted row and the last that is near it in the shard
            reach = min(shard_rows - found.start, _READ_ROWS)
            near = rows[: int(np.searchsorted(rows, rows[0] + reach))]
            wide = int(near[-1] - near[0]) + 1
            if len(near) * _DENSE < wide:
                # one alone: few are wanted, and others would be decoded in vain
                near = near[:1]
                wide = 1
            yield replace(found, rows=wide), near
            rows = rows[len(near) :]
