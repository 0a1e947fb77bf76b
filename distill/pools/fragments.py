"""How shards are cut into fragments, column by column: 200,000 of them are some MB and a fraction
of a second.

A fragment is either whole row groups, put together up to `fragment_rows`, or a near-equal part of
one row group that is larger. So no row group that could be read at once is read for two fragments,
and the parts of a larger one are known by its number. Fragments are contiguous, hold every row
once, lie in (shard, row) order, and depend on nothing but their own shard: growth moves no border.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]

WHOLE = -1
"""`group` of a fragment that is whole row groups."""


@dataclass(frozen=True, eq=False)
class FragmentTable:
    """One entry a fragment in each column, in (shard, row) order."""

    shard: npt.NDArray[np.int32]
    number: npt.NDArray[np.int32]
    """Of the fragment in its shard."""
    start: Numbers
    rows: Numbers
    group: npt.NDArray[np.int32]
    """Number of the one larger row group that it is a part of, else `WHOLE`."""

    def __len__(self) -> int:
        return len(self.shard)


def fragment_id(shard: int, number: int) -> str:
    """Name of a fragment."""
    return f"{shard:06d}-{number:06d}"


def cut_fragments(
    shards: Numbers, group_counts: Numbers, group_rows: Numbers, fragment_rows: int
) -> FragmentTable:
    """The fragments of `shards`, ascending; shard i has `group_counts[i]` row groups, and
    `group_rows` are all of theirs in order."""
    shard = np.repeat(shards, group_counts)
    group = np.arange(len(group_rows)) - np.repeat(
        np.cumsum(group_counts) - group_counts, group_counts
    )
    held = group_rows > 0
    shard, group, group_rows = shard[held], group[held], group_rows[held]
    ends = np.concatenate([[0], np.cumsum(group_rows)])
    heads = _heads(shard, group_rows, ends, fragment_rows)
    rows = np.diff(ends[np.append(heads, len(group_rows))])
    first = ends[heads] - ends[np.searchsorted(shard, shard[heads])]
    parts = -(-rows // fragment_rows)
    whole = np.repeat(
        np.arange(len(heads)), parts
    )  # of each fragment: which run of row groups it is, or is a part of
    part = _count_up(whole)
    start, stop = rows[whole] * part // parts[whole], rows[whole] * (part + 1) // parts[whole]
    mine = shard[heads][whole]
    return FragmentTable(
        mine.astype(np.int32),
        _count_up(mine).astype(np.int32),
        first[whole] + start,
        stop - start,
        np.where(parts > 1, group[heads], WHOLE)[whole].astype(np.int32),
    )


def _heads(shard: Numbers, group_rows: Numbers, ends: Numbers, fragment_rows: int) -> Numbers:
    """The row groups with which a run begins; a run ends where it is full, with its shard, or at a
    row group that is cut."""
    count = len(group_rows)
    bars = np.ones(count + 1, np.bool_)
    bars[1:count] = (shard[1:] != shard[:-1]) | (group_rows[1:] > fragment_rows)
    borders, each = np.flatnonzero(bars), np.arange(count)
    full = np.searchsorted(ends, ends[:-1] + fragment_rows, side="right") - 1
    after = (
        np.minimum(full, borders[np.searchsorted(borders, each, side="right")]) if count else each
    )
    next_head, heads, head = np.maximum(after, each + 1).tolist(), [], 0
    while head < count:
        heads.append(head)
        head = next_head[head]
    return np.array(heads, np.int64)


def _count_up(ascending: Numbers) -> Numbers:
    """0, 1, 2, … within each run of equal values."""
    return np.arange(len(ascending)) - np.searchsorted(ascending, ascending)
