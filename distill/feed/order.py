"""In which order rows are seen: a pure function of (seed, epoch, step) over pinned row ranges, the same for any number of workers.

A global batch is L fixed *lanes*. A source's rows are cut into near-equal chunks, each dealt to the lane with the fewest rows, so that
all lanes end together and all rows weigh alike; each epoch a lane permutes its chunks, and rows within windows of a few chunks, so every
chunk is read once an epoch with bounded memory. Chunks follow row groups, so that none is decoded for two of them where there are many.
Worker r of W takes the lanes ≡ r (mod W). A lane that ends early gives padding (row −1), so that every batch has the same shape.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

WINDOW_CHUNKS = 4
_LANE_CHUNKS = 8


@dataclass(frozen=True)
class Chunk:
    """A run of rows of one shard of one of the source's pools."""

    pool: int
    shard: int
    start: int
    rows: int


@dataclass(frozen=True)
class Window:
    """Some chunks of one lane, and the order of their rows: positions into the chunks laid end to end."""

    chunks: tuple[Chunk, ...]
    positions: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Order:
    """Chunks, lanes and a seed: everything that decides the order."""

    chunks: Sequence[Chunk]
    lanes: int
    lane_rows: int
    """Rows a lane gives to one global batch."""
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Global batches until the longest lane has given all its rows."""
        longest = max(sum(chunk.rows for chunk in mine) for mine in self._dealt)
        return max(1, -(-longest // self.lane_rows))

    def windows(self, epoch: int, lane: int) -> Iterator[Window]:
        """One lane's rows of one epoch, in order."""
        mine = self._dealt[lane]
        shuffled = [mine[number] for number in self._draw(epoch, lane, 0).permutation(len(mine))]
        for number, start in enumerate(range(0, len(shuffled), WINDOW_CHUNKS)):
            chunks = tuple(shuffled[start : start + WINDOW_CHUNKS])
            yield Window(chunks, self._draw(epoch, lane, number + 1).permutation(sum(chunk.rows for chunk in chunks)))

    @cached_property
    def _dealt(self) -> list[list[Chunk]]:
        """The chunks of each lane."""
        dealt: list[list[Chunk]] = [[] for _ in range(self.lanes)]
        fewest = [(0, lane) for lane in range(self.lanes)]
        for chunk in self.chunks:
            rows, lane = heapq.heappop(fewest)
            dealt[lane].append(chunk)
            heapq.heappush(fewest, (rows + chunk.rows, lane))
        return dealt

    def _draw(self, *position: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *position])


def cut_chunks(groups: Sequence[Sequence[Sequence[int]]], lanes: int, most_rows: int) -> list[Chunk]:
    """All rows of pools, in chunks small enough that every lane has some of them. `groups` are the rows of each row group of each shard of each
    pool: a chunk is whole ones, or a part of one."""
    total = sum(rows for shards in groups for each in shards for rows in each)
    size = max(1, min(most_rows, -(-total // (lanes * _LANE_CHUNKS))))
    return [
        Chunk(pool, shard, start, stop - start)
        for pool, shards in enumerate(groups)
        for shard, each in enumerate(shards)
        for start, stop in pairwise(_borders(each, size, lanes))
    ]


def _borders(groups: Sequence[int], size: int, lanes: int) -> list[int]:
    """Where a shard is cut: larger row groups into near-equal parts, smaller ones put together up to `size`."""
    borders = [0]
    begun = 0
    for rows in groups:
        if begun and begun + rows > size:
            borders.append(borders[-1] + begun)
            begun = 0
        begun += rows
        if begun > size:
            borders += [borders[-1] + end for end in _near_equal(begun, size, lanes)[1:]]
            begun = 0
    return [*borders, borders[-1] + begun] if begun else borders


def _near_equal(rows: int, size: int, lanes: int) -> list[int]:
    """Borders that cut `rows` into few parts of at most `size`, which differ by one row at most; as many for each lane of a large shard."""
    parts = -(-rows // size)
    if parts >= lanes:
        parts = min(rows, -(-parts // lanes) * lanes)
    return [rows * part // parts for part in range(parts + 1)] if parts else []
