"""Which of some drawn rows can be used: one that is damaged, null or not finite would take the place of
another, and nobody could label it.

A method that goes by no structure and no labels draws row numbers and opens no file. So the rows
that it drew are read here, and they alone: of an indexed format the row groups that hold them, where
they are few. That costs what labelling them will cost again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from distill.engine.protocol import Engine
from distill.loader.dataset import Dataset
from distill.loader.sampler import Chunk
from distill.stages.select.candidates import Int64
from distill.stages.select.gather import Gathered

_DENSE = 64  # a chunk is decoded whole where one row of so many is wanted, or more


@dataclass(frozen=True)
class _Readable:
    """What travels to the workers."""

    source: Dataset
    rows: Int64  # numbers of the drawn rows, sorted

    def __call__(self, chunk: Chunk) -> Int64:
        """Return the numbers of those of a chunk that can be used."""
        wanted = self.of(chunk)
        if len(wanted) * _DENSE >= chunk.rows:
            _, usable = self.source.usable(chunk)
            return np.intersect1d(wanted, usable, assume_unique=True)
        first = self._first_row(chunk)
        # one by one, but decoded by row groups, which the reader keeps
        usable_rows = [row for row in wanted.tolist() if self._is_usable(chunk, row - first)]
        return np.array(usable_rows, np.int64)

    def of(self, chunk: Chunk) -> Int64:
        """Return the numbers of the drawn rows that a chunk has."""
        first = self._first_row(chunk)
        start, stop = np.searchsorted(self.rows, [first, first + chunk.rows])
        return self.rows[start:stop]

    def _first_row(self, chunk: Chunk) -> int:
        first, *_ = self.source.row_numbers(replace(chunk, rows=1))
        return int(first)

    def _is_usable(self, chunk: Chunk, offset: int) -> bool:
        row = replace(chunk, start=chunk.start + offset, rows=1)
        _, usable = self.source.usable(row)
        return len(usable) == 1


def usable_candidates(
    title: str, source: Dataset, most_rows: int, gathered: Gathered, engine: Engine
) -> Gathered:
    """Leave out candidates that cannot be used, in order. Raises PoolError, StorageError."""
    candidates = gathered.candidates
    readable = _Readable(source, candidates.row)
    touched = [chunk for chunk in source.chunks(most_rows) if len(readable.of(chunk))]
    if not touched:
        return gathered
    usable = engine.fold(
        title, readable, touched, _joined, unit="rows", size=lambda chunk: len(readable.of(chunk))
    )
    # rows of former selections stay: a method sees them, and does not choose them
    stays = np.isin(candidates.row, usable) | candidates.is_former
    return replace(gathered, candidates=candidates.take(np.flatnonzero(stays)))


def _joined(one: Int64, other: Int64) -> Int64:
    both = [one, other]
    return np.concatenate(both)
