"""In which order rows are seen: a pure function of (seed, epoch, step) over pinned row ranges, the
same for any number of workers.

A global batch is L fixed *lanes*. A dataset's rows are cut into near-equal chunks, each given to
one lane; each epoch a lane permutes its chunks, and rows within windows of a few chunks, so every
chunk is read once an epoch with bounded memory. Worker r of W takes the lanes ≡ r (mod W). A lane
that ends early gives padding (row −1), so that every batch has the same shape.

A row group that is larger than a chunk is decoded for all its chunks at once: each epoch permutes
the row groups, the same for all lanes, and takes them in *blocks* of about `block_rows` rows, which
memory holds decoded; within a block a lane permutes its chunks freely.

With `like_length` the texts that a lane gives to a step are of like length (`shuffle.like_length`):
a window's rows are sorted by length, ties as they were drawn, cut into shares, and the shares
permuted, for all lanes alike, so that their texts are of like length too.
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
# chunks that a lane has at least, if there are rows enough: fewer would be shuffled little
_LANE_CHUNKS = 8


@dataclass(frozen=True)
class Chunk:
    """A run of rows of one shard of one of the dataset's pools."""

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
    """Rows that a lane gives to one global batch."""
    seed: int
    block_rows: int = sys.maxsize
    """Rows that are decoded together."""
    like_length: bool = False
    """Whether a share has texts of like length."""

    @cached_property
    def digest(self) -> str:
        """The name of this order: a position in one means nothing in another."""
        chunks = [
            [each.pool, each.shard, each.start, each.rows, each.group] for each in self.chunks
        ]
        # checkpoints hold it: other bytes here would throw trainings under way away
        settings = [self.lanes, self.lane_rows, self.seed, self.block_rows]
        if self.like_length:
            settings.append(1)
        numbers = [np.array(chunks, np.int64).ravel(), np.array(settings, np.int64)]
        return hashlib.sha256(np.concatenate(numbers).tobytes()).hexdigest()

    @cached_property
    def steps_per_epoch(self) -> int:
        """Global batches until the longest lane has given all its rows."""
        longest = max(sum(chunk.rows for chunk in chunks) for chunks in self._lane_chunks)
        return max(1, -(-longest // self.lane_rows))

    def windows(self, epoch: int, lane: int) -> Iterator[Window]:
        """Yield one lane's windows of one epoch, in order."""
        shuffled = self._shuffled(epoch, lane)
        for number, start in enumerate(range(0, len(shuffled), WINDOW_CHUNKS)):
            chunks = shuffled[start : start + WINDOW_CHUNKS]
            rows = sum(chunk.rows for chunk in chunks)
            # + 1, since 0 drew the order of the chunks
            positions = self._generator(epoch, lane, number + 1).permutation(rows)
            yield Window(tuple(chunks), positions)

    def share_order(self, epoch: int, window: int, shares: int) -> npt.NDArray[np.int64]:
        """Return the order in which the shares of a window come that are sorted by length; of two
        lanes' windows, one a share longer, about the same."""
        # no lane has the number `lanes + 1`, and these draws are the same for every lane
        keys = self._generator(epoch, self.lanes + 1, window).random(shares)
        return np.argsort(keys)

    def _shuffled(self, epoch: int, lane: int) -> list[Chunk]:
        """One lane's chunks of one epoch, block by block, permuted within each."""
        chunks = self._lane_chunks[lane]
        keys = self._generator(epoch, lane, 0).permutation(len(chunks))
        blocks = self._blocks(epoch)[self._lane_groups[lane]]
        # the last key counts first
        order = np.lexsort((keys, blocks))
        return [chunks[number] for number in order]

    @cached_property
    def _lane_chunks(self) -> list[list[Chunk]]:
        """The chunks of each lane."""
        lanes: list[list[Chunk]] = [[] for _ in range(self.lanes)]
        fewest = [(0, lane) for lane in range(self.lanes)]
        for chunk in self.chunks:
            # to the lane with the fewest rows, so that all end together and all rows weigh alike;
            # among equals that of the lowest number, so that all workers do the same
            rows, lane = heapq.heappop(fewest)
            lanes[lane].append(chunk)
            heapq.heappush(fewest, (rows + chunk.rows, lane))
        return lanes

    @cached_property
    def _lane_groups(self) -> list[npt.NDArray[np.int64]]:
        """For each chunk of each lane, the number of its row group among those of all chunks."""
        numbers: dict[tuple[int, int, int], int] = {}
        lanes = []
        for chunks in self._lane_chunks:
            keys = [(chunk.pool, chunk.shard, chunk.group) for chunk in chunks]
            groups = [numbers.setdefault(key, len(numbers)) for key in keys]
            lanes.append(np.array(groups, np.int64))
        return lanes

    @cached_property
    def _group_rows(self) -> npt.NDArray[np.int64]:
        """Rows of each row group, as chunks have them."""
        groups = np.concatenate(self._lane_groups)
        rows = [chunk.rows for chunks in self._lane_chunks for chunk in chunks]
        return np.bincount(groups, rows).astype(np.int64)

    def _blocks(self, epoch: int) -> npt.NDArray[np.int64]:
        """The block in which an epoch takes each row group."""
        # no lane has the number `lanes`, so these draws are nobody else's
        shuffled = self._generator(epoch, self.lanes, 0).permutation(len(self._group_rows))
        rows = self._group_rows[shuffled]
        rows_before = np.cumsum(rows) - rows
        # a worker then decodes each group about once an epoch, not once a chunk: of 16 groups of 8
        # chunks each, where memory holds two, 16–17 are decoded, and 94–104 without blocks
        blocks = np.empty_like(shuffled)
        blocks[shuffled] = rows_before // self.block_rows
        return blocks

    def _generator(self, *position: int) -> np.random.Generator:
        # one for each position: a worker draws for its own lanes alone, and a resumed training for
        # none of the epochs before
        return np.random.default_rng([self.seed, *position])


def cut_chunks(
    groups: Sequence[Sequence[Sequence[int]]], lanes: int, most_rows: int
) -> list[Chunk]:
    """Cut all rows of pools into chunks small enough that every lane has some of them.

    `groups` are the rows of each row group of each shard of each pool: a chunk is whole ones, or a
    part of one.
    """
    total = sum(rows for shards in groups for sizes in shards for rows in sizes)
    few_rows = -(-total // (lanes * _LANE_CHUNKS))
    chunk_rows = max(1, min(most_rows, few_rows))
    chunks: list[Chunk] = []
    for pool, shards in enumerate(groups):
        for shard, sizes in enumerate(shards):
            group_starts = [0, *accumulate(sizes)][:-1]
            # along row groups: where there are many, none is decoded for two chunks
            for start, stop in pairwise(_borders(sizes, chunk_rows, lanes)):
                group = bisect_right(group_starts, start) - 1
                chunks.append(Chunk(pool, shard, start, stop - start, group))
    return chunks


def _borders(groups: Sequence[int], chunk_rows: int, lanes: int) -> list[int]:
    """Where a shard is cut: larger row groups into near-equal parts, smaller ones put together up
    to `chunk_rows`."""
    borders = [0]
    gathered = 0
    for rows in groups:
        if gathered and gathered + rows > chunk_rows:
            border = borders[-1] + gathered
            borders.append(border)
            gathered = 0
        gathered += rows
        if gathered > chunk_rows:
            borders += [borders[-1] + end for end in _near_equal(gathered, chunk_rows, lanes)]
            gathered = 0
    if gathered:
        border = borders[-1] + gathered
        borders.append(border)
    return borders


def _near_equal(rows: int, most_rows: int, lanes: int) -> list[int]:
    """The ends of few parts of at most `most_rows`, which differ by one row at most; as many for
    each lane of a large shard."""
    parts = -(-rows // most_rows)
    if parts >= lanes:
        # a multiple of the lanes, but no part without a row
        parts = min(rows, -(-parts // lanes) * lanes)
    return [rows * part // parts for part in range(1, parts + 1)]
