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

WHOLE = -1  # `group` of a fragment that is whole row groups


@dataclass(frozen=True, eq=False)
class FragmentTable:
    """One entry a fragment in each column, in (shard, row) order."""

    shard: npt.NDArray[np.int32]
    number: npt.NDArray[np.int32]  # of the fragment in its shard
    start: Numbers
    rows: Numbers
    # number of the one larger row group that it is a part of, else `WHOLE`
    group: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.shard)


def fragment_id(shard: int, number: int) -> str:
    """Return the name of a fragment."""
    return f"{shard:06d}-{number:06d}"


def cut_fragments(
    shards: Numbers, group_counts: Numbers, group_rows: Numbers, fragment_rows: int
) -> FragmentTable:
    """Cut `shards`, ascending, into fragments; shard i has `group_counts[i]` row groups, and
    `group_rows` are all of theirs in order."""
    # of each row group: its shard, its number there, its rows; empty ones are left out
    shard = np.repeat(shards, group_counts)
    group = _count_up(np.repeat(np.arange(len(shards)), group_counts))
    filled = group_rows > 0
    shard = shard[filled]
    group = group[filled]
    group_rows = group_rows[filled]
    ends = np.concatenate([[0], np.cumsum(group_rows)])
    # of each run of row groups: the first, its rows, and its first row in the shard
    heads = _heads(shard, group_rows, ends, fragment_rows)
    run_rows = np.diff(ends[np.append(heads, len(group_rows))])
    shard_start = ends[np.searchsorted(shard, shard[heads])]
    run_ends = ends[heads]
    run_start = run_ends - shard_start
    # of each fragment: its run, and which part of it
    parts = -(-run_rows // fragment_rows)  # a run of several row groups is one part
    run = np.repeat(np.arange(len(heads)), parts)
    part = _count_up(run)
    start = run_rows[run] * part // parts[run]
    stop = run_rows[run] * (part + 1) // parts[run]
    run_shard = shard[heads]
    fragment_shard = run_shard[run]
    number = _count_up(fragment_shard).astype(np.int32)
    run_group = np.where(parts > 1, group[heads], WHOLE)
    fragment_group = run_group[run].astype(np.int32)
    run_first = run_start[run]
    first_row = run_first + start
    narrow_shard = fragment_shard.astype(np.int32)
    return FragmentTable(narrow_shard, number, first_row, stop - start, fragment_group)


def _heads(shard: Numbers, group_rows: Numbers, ends: Numbers, fragment_rows: int) -> Numbers:
    """The row groups with which a run begins; a run ends where it is full, with its shard, or at a
    row group that is cut."""
    count = len(group_rows)
    is_border = np.ones(count + 1, np.bool_)
    is_cut = group_rows > fragment_rows
    begins_shard = shard[1:] != shard[:-1]
    is_border[1:count] = begins_shard | is_cut[1:]
    borders = np.flatnonzero(is_border)
    groups = np.arange(count)
    # of each row group: the first that no longer fits into a run which begins with it
    limits = ends[:-1] + fragment_rows
    full = np.searchsorted(ends, limits, side="right") - 1
    next_border = borders[np.searchsorted(borders, groups, side="right")] if count else groups
    stops = np.minimum(full, next_border)
    next_heads = np.maximum(stops, groups + 1).tolist()
    heads = []
    head = 0
    while head < count:
        heads.append(head)
        head = next_heads[head]
    return np.array(heads, np.int64)


def _count_up(ascending: Numbers) -> Numbers:
    """0, 1, 2, … within each run of equal values."""
    return np.arange(len(ascending)) - np.searchsorted(ascending, ascending)
