"""The cut into fragments, against the plain way of cutting, one row group after the other."""

import time
import tracemalloc
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.pools.fragments import WHOLE, cut_fragments

SHARDS = st.lists(st.lists(st.integers(0, 300), max_size=12), max_size=6)


def cut(shards, fragment_rows):
    """Fragments of shards 0, 2, 4, …, each a list of row groups, as plain tuples."""
    numbers = np.arange(len(shards)) * 2
    counts = np.array([len(groups) for groups in shards], np.int64)
    table = cut_fragments(numbers, counts, np.array(list(chain(*shards)), np.int64), fragment_rows)
    return list(zip(table.shard, table.number, table.start, table.rows, table.group, strict=True))


def cut_plainly(shards, fragment_rows):
    for shard, groups in enumerate(shards):
        found, start, held = [], 0, 0
        for group, rows in enumerate(groups):
            if held and held + rows > fragment_rows:
                found.append((start, held, WHOLE))
                start, held = start + held, 0
            if rows > fragment_rows:
                parts = -(-rows // fragment_rows)
                borders = [rows * part // parts for part in range(parts + 1)]
                found += [(start + a, b - a, group) for a, b in pairwise(borders)]
                start += rows
            else:
                held += rows
        found += [(start, held, WHOLE)] if held else []
        yield from ((2 * shard, number, *each) for number, each in enumerate(found))


@settings(max_examples=100)
@given(SHARDS, st.integers(1, 400))
def test_the_cut_is_the_plain_one(shards, fragment_rows):
    assert cut(shards, fragment_rows) == list(cut_plainly(shards, fragment_rows))


@settings(max_examples=100)
@given(SHARDS, st.integers(1, 400))
def test_every_row_is_covered_once_and_no_small_row_group_is_shared(shards, fragment_rows):
    fragments = cut(shards, fragment_rows)
    covered = [
        (shard, row) for shard, _, start, rows, _ in fragments for row in range(start, start + rows)
    ]
    assert covered == [
        (2 * shard, row) for shard, groups in enumerate(shards) for row in range(sum(groups))
    ]
    for shard, groups in enumerate(shards):
        for group, stop in enumerate(np.cumsum(groups)):
            first = stop - groups[group]
            touching = [
                part
                for part in fragments
                if part[0] == 2 * shard and part[2] < stop and part[2] + part[3] > first
            ]
            if 0 < groups[group] <= fragment_rows:
                assert len(touching) == 1
                assert touching[0][4] == WHOLE
            elif groups[group]:
                assert {part[4] for part in touching} == {group}
                assert max(part[3] for part in touching) - min(part[3] for part in touching) <= 1
    assert all(0 < rows <= fragment_rows for _, _, _, rows, _ in fragments)


@pytest.mark.parametrize("groups", [[50_000], [5_000] * 10, [500_000]])
def test_ten_billion_rows_are_cut_within_seconds_and_megabytes(groups):
    shards = 10_000_000_000 // sum(groups)
    began = time.process_time()
    tracemalloc.start()
    counts, rows = np.full(shards, len(groups)), np.tile(groups, shards)
    table = cut_fragments(np.arange(shards), counts, rows, 50_000)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table) == 200_000
    assert table.rows.sum() == 10_000_000_000
    assert kept - rows.nbytes - counts.nbytes < 8_000_000
    assert time.process_time() - began < 5
