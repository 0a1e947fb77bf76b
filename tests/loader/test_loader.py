from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from distill.loader import cache as cache_module
from distill.loader.dataset import Dataset
from distill.loader.loader import Loader
from distill.loader.sampler import Sampler, cut_chunks
from distill.pools import row_cache
from tests.loader.conftest import FEATURES
from tests.making import list_pool
from tests.tiny import write_pool

LANES, LANE_ROWS = 4, 3


@pytest.fixture
def sampler(laid):
    return Sampler(cut_chunks(laid.dataset.groups, LANES, 16), LANES, LANE_ROWS, seed=5)


@pytest.fixture
def batches(laid, sampler):
    """`batches(count, first_step, rank, workers)`: some batches of a loader of their own."""

    def some(count, first_step=0, rank=0, workers=1, ahead=True):
        loader = Loader(laid.dataset, sampler, rank=rank, workers=workers, ahead=ahead)
        try:
            return [copied(batch) for batch in islice(loader.batches(first_step), count)]
        finally:
            loader.close()

    return some


def copied(batch):
    """What a loader's batch holds, which it writes anew."""
    return {name: values.copy() for name, values in batch.items()}


def by_lane(batch, lanes):
    """Row numbers of each lane of one worker's batch."""
    return dict(zip(lanes, batch["row"].reshape(len(lanes), -1).tolist(), strict=True))


def test_rows_of_a_global_batch_depend_on_how_many_workers_there_are(sampler, batches):
    count = 2 * sampler.steps_per_epoch + 1
    alone = [by_lane(batch, range(LANES)) for batch in batches(count)]
    for workers in (2, 4):
        split = [batches(count, rank=rank, workers=workers) for rank in range(workers)]
        for step, due in enumerate(alone):
            together = {}
            for rank in range(workers):
                together |= by_lane(split[rank][step], range(rank, LANES, workers))
            assert together == due


def test_an_epoch_repeats_or_leaves_out_a_row(laid, sampler, batches):
    steps = sampler.steps_per_epoch
    seen = np.concatenate([batch["row"] for batch in batches(3 * steps)]).reshape(3, -1)
    for epoch in seen:
        np.testing.assert_array_equal(np.sort(epoch[epoch >= 0]), np.arange(laid.dataset.rows))
    assert (seen[0] != seen[1]).any()


def test_resuming_at_a_step_gives_other_rows_than_running_through(sampler, batches):
    total = 2 * sampler.steps_per_epoch + 2
    through = batches(total)
    for first in range(total):
        (resumed,) = batches(1, first)
        for name, values in resumed.items():
            np.testing.assert_array_equal(
                values, through[first][name], err_msg=f"step {first}, {name}"
            )
    for resumed, due in zip(batches(total - 3, 3), through[3:], strict=True):
        np.testing.assert_array_equal(resumed["row"], due["row"])


def test_batches_that_are_gathered_ahead_hold_other_rows(sampler, batches):
    count = sampler.steps_per_epoch + 2
    for mine, due in zip(batches(count), batches(count, ahead=False), strict=True):
        for name, values in due.items():
            np.testing.assert_array_equal(mine[name], values)


def test_every_batch_has_another_shape_or_padding_counts(sampler, batches):
    padded = 0
    for batch in batches(sampler.steps_per_epoch):
        assert {len(values) for values in batch.values()} == {LANES * LANE_ROWS}
        missing = batch["row"] == -1
        padded += missing.sum()
        for name in ("dense", "topk", "truth"):
            assert (batch[f"{name}.weight"][missing] == 0).all()
        for name, values in batch.items():
            assert (values[missing] == (-1 if name == "row" else 0)).all()
    assert padded > 0


def test_a_row_in_a_batch_carries_the_labels_of_another(laid, sampler, batches):
    for batch in batches(sampler.steps_per_epoch):
        known = batch["row"] >= 0
        rows = batch["row"][known]
        pixels = np.array(laid.table.take(rows)["pixels"].to_pylist(), np.float32)
        np.testing.assert_array_equal(batch["features"][known], pixels)
        np.testing.assert_array_equal(batch["dense.weight"][known], laid.labelled[rows])
        labelled = laid.labelled[rows]
        np.testing.assert_array_equal(
            batch["dense.outputs"][known][labelled], laid.outputs[rows[labelled]]
        )


def test_the_cache_answers_other_rows_or_is_never_asked(laid, sampler, batches, monkeypatch):
    loads = []
    load = type(laid.dataset).load
    monkeypatch.setattr(
        type(laid.dataset),
        "load",
        lambda dataset, chunk: loads.append(chunk) or load(dataset, chunk),
    )
    cached = batches(2 * sampler.steps_per_epoch)
    assert len(loads) == len(sampler.chunks)
    monkeypatch.setattr(cache_module, "CACHE_BYTES", 0)
    loads.clear()
    uncached = batches(2 * sampler.steps_per_epoch)
    assert len(loads) >= 2 * len(sampler.chunks)
    for mine, due in zip(cached, uncached, strict=True):
        for name in due:
            np.testing.assert_array_equal(mine[name], due[name])


def test_the_cache_grows_beyond_its_limit(laid, sampler, monkeypatch):
    one = sum(values.nbytes for values in laid.dataset.load(sampler.chunks[0]).values())
    monkeypatch.setattr(cache_module, "CACHE_BYTES", 3 * one)
    loader = Loader(laid.dataset, sampler, rank=0, workers=1)
    list(islice(loader.batches(), sampler.steps_per_epoch))
    loader.close()
    sizes = [values.nbytes for arrays in loader.cache.chunks.values() for values in arrays.values()]
    assert 0 < sum(sizes) <= 3 * one


def test_a_lane_without_rows_ends_the_batches(laid):
    lanes = 32  # more than there are chunks
    sampler = Sampler(cut_chunks(laid.dataset.groups, 2, 64), lanes, 4, seed=0)
    assert len(sampler.chunks) < lanes
    loader = Loader(laid.dataset, sampler, rank=lanes - 1, workers=lanes)
    first = next(loader.batches())
    loader.close()
    assert first["row"].tolist() == [-1] * 4
    assert first["features"].shape == (4, 4)


def test_a_failure_to_read_is_swallowed_by_a_thread(laid, sampler, monkeypatch):
    def fails(dataset, chunk):
        raise OSError("no disk")

    monkeypatch.setattr(type(laid.dataset), "load", fails)
    loader = Loader(laid.dataset, sampler, rank=0, workers=1)
    with pytest.raises(OSError, match="no disk"):
        next(loader.batches())
    loader.close()


def test_a_batch_is_written_over_before_the_next_one_is_asked_for(laid, sampler):
    loader = Loader(laid.dataset, sampler, rank=0, workers=1)
    for batch in islice(loader.batches(), sampler.steps_per_epoch):
        given = copied(batch)
        loader._gathering.submit(int).result()  # the next one is gathered
        for name, values in batch.items():
            np.testing.assert_array_equal(values, given[name])
    loader.close()


def test_windows_that_were_done_before_a_resume_are_read_again(laid, sampler, batches, monkeypatch):
    loads = []
    load = type(laid.dataset).load
    monkeypatch.setattr(cache_module, "CACHE_BYTES", 0)
    monkeypatch.setattr(
        type(laid.dataset),
        "load",
        lambda dataset, chunk: loads.append(chunk) or load(dataset, chunk),
    )
    last = [list(sampler.windows(0, lane))[-1] for lane in range(LANES)]
    batches(1, sampler.steps_per_epoch - 1)
    coming = [window for lane in range(LANES) for window in islice(sampler.windows(1, lane), 2)]
    due = {chunk for window in (*last, *coming) for chunk in window.chunks} | {sampler.chunks[0]}
    assert set(loads) <= due


def test_a_row_group_is_decoded_for_each_of_its_chunks(tmp_path, monkeypatch):
    write_pool(tmp_path / "pool", [1024] * 4, row_group_rows=256)
    dataset = Dataset((list_pool(tmp_path / "root", tmp_path / "pool"),), FEATURES, 4)
    chunks = cut_chunks(dataset.groups, 8, 32)
    group_bytes = (
        row_cache.read_chunk(dataset.inventories[0], 0, range(32), ("pixels",)).table.nbytes * 8
    )
    reads = []
    read = row_cache.read_rows
    monkeypatch.setattr(cache_module, "CACHE_BYTES", 0)
    monkeypatch.setattr(
        row_cache, "read_rows", lambda *told, **more: reads.append(told) or read(*told, **more)
    )

    def decoded(block_rows, rank, workers):
        """Row groups an epoch, where two and a half fit into memory."""
        monkeypatch.setattr(row_cache, "_rows", row_cache.RowCache(group_bytes * 5 // 2))
        sampler, epochs = Sampler(chunks, 8, 4, seed=0, block_rows=block_rows), 3
        loader = Loader(dataset, sampler, rank=rank, workers=workers)
        reads.clear()
        seen = [
            copied(batch)["row"]
            for batch in islice(loader.batches(), epochs * sampler.steps_per_epoch)
        ]
        loader.close()
        assert sorted(np.concatenate(seen)) == sorted([*range(4096)] * epochs) or workers > 1
        return len(reads) / epochs

    assert decoded(256, 0, 1) <= 20
    assert all(decoded(256, rank, 2) <= 20 for rank in range(2))
    assert decoded(4096, 0, 1) > 60, "without blocks each would be decoded again and again"


def test_memory_grows_with_the_pool_where_lanes_have_files_of_other_sizes(tmp_path, monkeypatch):
    """Lanes advance by rows, so one of large chunks needs a new window seldom, and one of small
    chunks often."""
    alive, most = [0], []
    monkeypatch.setattr(cache_module, "CACHE_BYTES", 0)
    load = Dataset.load

    class Rows(dict):
        def __del__(self):
            alive[0] -= len(self["row"])

    def counted(dataset, chunk):
        rows = Rows(load(dataset, chunk))
        alive[0] += chunk.rows
        most.append(alive[0])
        return rows

    monkeypatch.setattr(Dataset, "load", counted)
    peaks = []
    for times in (1, 4):
        folder = tmp_path / str(times)
        write_pool(folder / "pool", ([100] * 7 + [1] * 100) * times, row_group_rows=100)
        dataset = Dataset((list_pool(folder / "root", folder / "pool"),), FEATURES, 4)
        sampler = Sampler(cut_chunks(dataset.groups, 8, 100), 8, 4, seed=0)
        loader = Loader(dataset, sampler, rank=0, workers=1)
        most.clear()
        for _ in islice(loader.batches(), sampler.steps_per_epoch):
            pass
        loader.close()
        peaks.append(max(most))
    assert peaks[1] <= 1.3 * max(peaks[0], 8 * 4 * 100)


def test_row_groups_come_in_the_same_order_every_epoch(tmp_path):
    write_pool(tmp_path / "pool", [64] * 8, row_group_rows=64)
    dataset = Dataset((list_pool(tmp_path / "root", tmp_path / "pool"),), FEATURES, 4)
    sampler = Sampler(cut_chunks(dataset.groups, 2, 16), 2, 4, seed=0, block_rows=64)
    shards = [
        [chunk.shard for window in sampler.windows(epoch, 0) for chunk in window.chunks]
        for epoch in range(4)
    ]
    first = [list(dict.fromkeys(each)) for each in shards]
    assert all(len(each) == 8 for each in first)
    assert len(set(map(tuple, first))) == 4
