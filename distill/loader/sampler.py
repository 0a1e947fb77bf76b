"""In which order rows are seen: a pure function of (seed, epoch, step) over pinned row ranges, the
same for any number of workers.

A global batch is L fixed *lanes*. A source's rows are cut into near-equal chunks, each dealt to the
lane with the fewest rows, so that all lanes end together and all rows weigh alike; each epoch a
lane permutes its chunks, and rows within windows of a few chunks, so every chunk is read once an
epoch with bounded memory. Worker r of W takes the lanes ≡ r (mod W). A lane that ends early gives
padding (row −1), so that every batch has the same shape.

Chunks follow row groups, so that none is decoded for two of them where there are many. A row group
that is larger than a chunk is decoded for all its chunks at once: each epoch permutes the row
groups, the same for all lanes, and takes them in *blocks* of about `block_rows` rows, which memory
holds decoded; within a block a lane permutes its chunks freely. So a worker decodes each of them
about once an epoch, not once a chunk (16 groups of 8 chunks each, where memory holds two: 16–17
decoded an epoch, 94–104 without blocks), and a pool that fits is one block.
"""

from __future__ import annotations

import hashlib
import heapq
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

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
    group: int = 0
    """The shard's row group in which it begins."""


@dataclass(frozen=True)
class Window:
    """Some chunks of one lane, and the order of their rows: positions into the chunks laid end to
    end."""

    chunks: tuple[Chunk, ...]
    positions: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sampler:
    """Chunks, lanes and a seed: everything that decides the order."""

    chunks: Sequence[Chunk]
    lanes: int
    lane_rows: int
    """Rows a lane gives to one global batch."""
    seed: int
    block_rows: int = sys.maxsize
    """Rows that are decoded together."""

    @cached_property
    def digest(self) -> str:
        """Says which order this is: positions of one mean nothing in another."""
        cut = [
            (chunk.pool, chunk.shard, chunk.start, chunk.rows, chunk.group) for chunk in self.chunks
        ]
        said = np.array(
            [*np.ravel(cut), self.lanes, self.lane_rows, self.seed, self.block_rows], np.int64
        )
        return hashlib.sha256(said.tobytes()).hexdigest()

    @property
    def steps_per_epoch(self) -> int:
        """Global batches until the longest lane has given all its rows."""
        longest = max(sum(chunk.rows for chunk in mine) for mine in self._dealt)
        return max(1, -(-longest // self.lane_rows))

    def windows(self, epoch: int, lane: int) -> Iterator[Window]:
        """One lane's rows of one epoch, in order."""
        mine = self._dealt[lane]
        drawn, blocks = (
            self._draw(epoch, lane, 0).permutation(len(mine)),
            self._blocks(epoch)[self._groups[lane]],
        )
        shuffled = [mine[number] for number in np.lexsort((drawn, blocks))]
        for number, start in enumerate(range(0, len(shuffled), WINDOW_CHUNKS)):
            chunks = tuple(shuffled[start : start + WINDOW_CHUNKS])
            yield Window(
                chunks,
                self._draw(epoch, lane, number + 1).permutation(
                    sum(chunk.rows for chunk in chunks)
                ),
            )

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

    @cached_property
    def _groups(self) -> list[npt.NDArray[np.int64]]:
        """For each chunk of each lane, the number of its row group among those of all chunks."""
        numbers: dict[tuple[int, int, int], int] = {}
        return [
            np.array([numbers.setdefault(_group(chunk), len(numbers)) for chunk in mine], np.int64)
            for mine in self._dealt
        ]

    @cached_property
    def _group_rows(self) -> npt.NDArray[np.int64]:
        """Rows of each row group, as chunks have them."""
        rows = [[chunk.rows for chunk in mine] for mine in self._dealt]
        return np.bincount(np.concatenate(self._groups), np.concatenate(rows)).astype(np.int64)

    def _blocks(self, epoch: int) -> npt.NDArray[np.int64]:
        """The block in which an epoch takes each row group."""
        mixed = self._draw(epoch, self.lanes, 0).permutation(len(self._group_rows))
        before = np.cumsum(self._group_rows[mixed]) - self._group_rows[mixed]
        blocks = np.empty_like(mixed)
        blocks[mixed] = before // self.block_rows
        return blocks

    def _draw(self, *position: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *position])


def cut_chunks(
    groups: Sequence[Sequence[Sequence[int]]], lanes: int, most_rows: int
) -> list[Chunk]:
    """All rows of pools, in chunks small enough that every lane has some of them. `groups` are the
    rows of each row group of each shard of each pool: a chunk is whole ones, or a part of one."""
    total = sum(rows for shards in groups for each in shards for rows in each)
    size = max(1, min(most_rows, -(-total // (lanes * _LANE_CHUNKS))))
    return [
        Chunk(pool, shard, start, stop - start, bisect_right(firsts, start) - 1)
        for pool, shards in enumerate(groups)
        for shard, each in enumerate(shards)
        for firsts in [[0, *accumulate(each)][:-1]]
        for start, stop in pairwise(_borders(each, size, lanes))
    ]


def _group(chunk: Chunk) -> tuple[int, int, int]:
    return chunk.pool, chunk.shard, chunk.group


def _borders(groups: Sequence[int], size: int, lanes: int) -> list[int]:
    """Where a shard is cut: larger row groups into near-equal parts, smaller ones put together up
    to `size`."""
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
    """Borders that cut `rows` into few parts of at most `size`, which differ by one row at most; as
    many for each lane of a large shard."""
    parts = -(-rows // size)
    if parts >= lanes:
        parts = min(rows, -(-parts // lanes) * lanes)
    return [rows * part // parts for part in range(parts + 1)] if parts else []
