from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.loader.sampler import WINDOW_CHUNKS, Sampler, cut_chunks

POOLS = st.lists(
    st.lists(st.integers(0, 300), min_size=1, max_size=4), min_size=1, max_size=3
).filter(lambda pools: any(map(any, pools)))


def one_group(pools):
    """Every shard is one row group."""
    return [[[rows] for rows in shards] for shards in pools]


GROUPS = st.lists(
    st.lists(st.lists(st.integers(0, 90), max_size=6), min_size=1, max_size=3),
    min_size=1,
    max_size=2,
).filter(lambda pools: any(map(sum, itertools.chain.from_iterable(pools))))


@given(GROUPS, st.integers(1, 8), st.integers(16, 100))
def test_a_chunk_holds_parts_of_two_row_groups_or_leaves_out_a_row(groups, lanes, most_rows):
    chunks = cut_chunks(groups, lanes, most_rows)
    for pool, shards in enumerate(groups):
        for shard, each in enumerate(shards):
            mine = [chunk for chunk in chunks if (chunk.pool, chunk.shard) == (pool, shard)]
            assert [chunk.start for chunk in mine] == [
                0,
                *itertools.accumulate(chunk.rows for chunk in mine),
            ][: len(mine)]
            assert sum(chunk.rows for chunk in mine) == sum(each)
            borders = {0, *itertools.accumulate(each)}
            for chunk in mine:
                inside = [
                    border for border in borders if chunk.start < border < chunk.start + chunk.rows
                ]
                whole = {chunk.start, chunk.start + chunk.rows} <= borders
                assert 0 < chunk.rows <= most_rows
                assert whole or not inside


def rows_of(sampler: Sampler, epoch: int, lane: int) -> list[tuple[int, int, int]]:
    """(pool, shard, row) of one lane's epoch, in order, slowly."""
    seen = []
    for window in sampler.windows(epoch, lane):
        laid = [
            (chunk.pool, chunk.shard, row)
            for chunk in window.chunks
            for row in range(chunk.start, chunk.start + chunk.rows)
        ]
        seen += [laid[position] for position in window.positions]
    return seen


@given(POOLS, st.integers(1, 8), st.integers(16, 200), st.integers(0, 5))
def test_a_row_is_seen_twice_or_never_in_an_epoch(shard_rows, lanes, most_rows, epoch):
    sampler = Sampler(cut_chunks(one_group(shard_rows), lanes, most_rows), lanes, 4, seed=1)
    seen = [row for lane in range(lanes) for row in rows_of(sampler, epoch, lane)]
    due = [
        (p, s, row)
        for p, shards in enumerate(shard_rows)
        for s, rows in enumerate(shards)
        for row in range(rows)
    ]
    assert sorted(seen) == due
    longest = max(len(rows_of(sampler, epoch, lane)) for lane in range(lanes))
    assert sampler.steps_per_epoch == max(1, -(-longest // 4))


@given(POOLS, st.integers(1, 8), st.integers(16, 200))
def test_a_chunk_is_larger_than_a_file_may_be_read_at_once(shard_rows, lanes, most_rows):
    for chunk in cut_chunks(one_group(shard_rows), lanes, most_rows):
        assert 0 < chunk.rows <= most_rows
        assert chunk.start + chunk.rows <= shard_rows[chunk.pool][chunk.shard]


@pytest.mark.parametrize("lanes", [1, 2, 8])
def test_a_lane_has_no_rows_of_a_large_shard(lanes):
    sampler = Sampler(cut_chunks(one_group([[4_000]]), lanes, 50_000), lanes, 4, seed=0)
    sizes = [len(rows_of(sampler, 0, lane)) for lane in range(lanes)]
    assert min(sizes) > 0.8 * max(sizes)


@given(GROUPS, st.integers(1, 8), st.integers(16, 100), st.integers(1, 200), st.integers(0, 3))
def test_lanes_take_row_groups_in_other_blocks_or_leave_out_a_row(
    groups, lanes, most_rows, block_rows, epoch
):
    chunks = cut_chunks(groups, lanes, most_rows)
    sampler = Sampler(chunks, lanes, 4, seed=1, block_rows=block_rows)
    mine = [
        [chunk for window in sampler.windows(epoch, lane) for chunk in window.chunks]
        for lane in range(lanes)
    ]
    assert sorted(map(repr, itertools.chain.from_iterable(mine))) == sorted(map(repr, chunks))
    blocks = sampler._blocks(epoch)
    taken = {(chunk.pool, chunk.shard, chunk.group): set() for chunk in chunks}
    for lane, its in enumerate(mine):
        dealt = {
            chunk: blocks[number]
            for chunk, number in zip(
                sampler._lane_chunks[lane], sampler._lane_groups[lane], strict=True
            )
        }
        assert [dealt[chunk] for chunk in its] == sorted(dealt.values())
        for chunk in its:
            taken[chunk.pool, chunk.shard, chunk.group].add(dealt[chunk])
    assert all(len(each) == 1 for each in taken.values())


def test_the_order_depends_on_anything_but_seed_and_epoch():
    chunks = cut_chunks(one_group([[300, 77], [123]]), 4, 32)
    first = [rows_of(Sampler(chunks, 4, 4, seed=7), 2, lane) for lane in range(4)]
    np.random.default_rng(3).random()
    np.random.seed(5)
    again = [rows_of(Sampler(list(chunks), 4, 16, seed=7), 2, lane) for lane in reversed(range(4))]
    assert first == again[::-1]


def test_two_epochs_or_seeds_or_lanes_share_an_order():
    chunks = cut_chunks(one_group([[512]]), 2, 32)
    drawn = [
        rows_of(Sampler(chunks, 2, 4, seed=seed), epoch, 0)
        for seed in range(3)
        for epoch in range(3)
    ]
    assert len({tuple(rows) for rows in drawn}) == 9
    assert all(sorted(rows) == sorted(drawn[0]) for rows in drawn)
    positions = [
        next(Sampler(chunks, 2, 4, seed=0).windows(0, lane)).positions.tolist() for lane in range(2)
    ]
    assert positions[0] != positions[1]
    again = next(Sampler(chunks, 2, 4, seed=0).windows(1, 0)).positions.tolist()
    assert positions[0] != again


def test_a_window_holds_more_chunks_than_memory_is_meant_to():
    sampler = Sampler(cut_chunks(one_group([[1_000]]), 2, 16), 2, 4, seed=0)
    sizes = [len(window.chunks) for window in sampler.windows(0, 0)]
    assert max(sizes) == WINDOW_CHUNKS
    assert sum(sizes) == len(sampler.chunks[0::2])


def test_rows_stay_in_the_order_in_which_they_are_stored():
    rows = [
        row
        for _, _, row in rows_of(Sampler(cut_chunks(one_group([[512]]), 1, 64), 1, 4, seed=0), 0, 0)
    ]
    neighbours = sum(abs(a - b) == 1 for a, b in itertools.pairwise(rows))
    assert neighbours < 0.1 * len(rows)


@pytest.mark.parametrize(
    ("shards", "lanes", "most_rows"),
    [
        ([160], 8, 50_000),
        ([50_001] * 100, 8, 50_000),
        ([33] * 40, 8, 64),
        ([1437], 8, 64),
        ([1797], 8, 64),
        ([100_000, 7], 16, 512),
    ],
)
def test_some_lanes_have_more_rows_so_theirs_weigh_less(shards, lanes, most_rows):
    chunks = cut_chunks(one_group([shards]), lanes, most_rows)
    sampler = Sampler(chunks, lanes, 8, 0)
    rows = [
        sum(window.positions.size for window in sampler.windows(0, lane)) for lane in range(lanes)
    ]
    assert sum(rows) == sum(shards)
    assert max(rows) - min(rows) <= max(chunk.rows for chunk in chunks)
    assert max(rows) <= 1.04 * sum(rows) / lanes + 1
