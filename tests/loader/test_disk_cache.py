"""Chunks on disk are the chunks that were put, bounded, and gone when their process is; a second
epoch asks no store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from distill.labels.state import read_state
from distill.labels.writer import LabelWriter
from distill.loader import cache as cache_module
from distill.loader import disk_cache
from distill.loader.dataset import Dataset, LabelColumn, TargetColumn
from distill.loader.disk_cache import DiskCache
from distill.loader.loader import Loader
from distill.loader.sampler import Chunk, Sampler, cut_chunks
from distill.pools.scan import take_inventory
from distill.spec.outputs import Outputs
from distill.spec.pools import VectorFeatures
from distill.storage.open import open_storage
from distill.storage.request_counts import RequestCounts, requests
from tests.command import REPOSITORY
from tests.loader.conftest import FEATURES, KIND
from tests.making import (
    a_contract,
    claim_of,
    commit_labels,
    empty_label_set,
    list_pool,
    some_labels,
)
from tests.tiny import write_pool

CHUNK = Chunk(0, 0, 0, 3)
ARRAYS = {
    "features": np.arange(12, dtype=np.float32).reshape(3, 4),
    "small": np.array([1, 2, 3], np.int8),  # so that what follows is not aligned in the file
    "row": np.arange(3),
    "nothing": np.empty((3, 0), np.float32),
    "flags": np.array([True, False, True]),
}
SIZE = sum(values.nbytes for values in ARRAYS.values())


@pytest.fixture
def cache(tmp_path):
    made = DiskCache(1 << 20, tmp_path / "cache")
    yield made
    made.close()


def files(cache_folder):
    return [
        file for file in Path(cache_folder).rglob("*") if file.is_file() and file.name != "lock"
    ]


def same(mine, theirs):
    assert mine.keys() == theirs.keys()
    for name, values in theirs.items():
        assert mine[name].dtype == values.dtype
        np.testing.assert_array_equal(mine[name], values)


def test_other_arrays_come_back(cache):
    assert cache.get(0, CHUNK) is None
    cache.put(0, CHUNK, ARRAYS)
    same(cache.get(0, CHUNK), ARRAYS)
    assert cache.get(1, CHUNK) is None
    assert all(
        values.flags.writeable and values.flags.aligned for values in cache.get(0, CHUNK).values()
    )
    swapped = {"a": ARRAYS["features"].T, "b": ARRAYS["row"][::2]}
    cache.put(1, CHUNK, swapped)
    same(cache.get(1, CHUNK), swapped)


@pytest.mark.parametrize("harm", ["flip", "cut", "gone", "other"])
def test_a_damaged_file_is_believed(cache, tmp_path, caplog, harm):
    cache.put(0, CHUNK, ARRAYS)
    (file,) = files(tmp_path)
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    {
        "flip": lambda: file.write_bytes(content),
        "cut": lambda: file.write_bytes(content[:-1]),
        "gone": file.unlink,
        "other": lambda: file.write_bytes(bytes(len(content))),
    }[harm]()
    assert cache.get(0, CHUNK) is None
    assert cache.get(0, CHUNK) is None
    assert caplog.text.count("the cache on disk") == 1
    assert (cache.used_bytes, files(tmp_path)) == (0, []), "its room is free again"
    cache.put(0, CHUNK, ARRAYS)
    same(cache.get(0, CHUNK), ARRAYS)
    assert cache.used_bytes == SIZE


def test_the_disk_holds_more_than_its_bound(tmp_path):
    cache = DiskCache(2 * SIZE + 5, tmp_path)
    for number in range(5):
        cache.put(number, CHUNK, ARRAYS)
    cache.put(0, CHUNK, ARRAYS)
    assert sum(file.stat().st_size for file in files(tmp_path)) == 2 * SIZE
    assert [cache.get(number, CHUNK) is not None for number in range(5)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    cache.close()
    assert not files(tmp_path)


def test_the_last_room_of_a_disk_is_taken(cache, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(disk_cache, "LEFT_FREE_BYTES", 1 << 60)
    cache.put(0, CHUNK, ARRAYS)
    assert cache.get(0, CHUNK) is None
    assert not files(tmp_path)
    assert "little room left" in caplog.text
    assert cache.used_bytes == 0


def test_text_is_pickled(cache, tmp_path):
    cache.put(0, CHUNK, {"features": np.array(["a", "b"], object)})
    assert cache.get(0, CHUNK) is None
    assert not files(tmp_path)


def test_a_folder_that_cannot_be_made_fails_a_training(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    cache = DiskCache(1 << 20, tmp_path / "file" / "cache")
    cache.put(0, CHUNK, ARRAYS)
    assert cache.get(0, CHUNK) is None
    assert "nothing is cached on disk" in caplog.text
    cache.close()


HOLD = """
import sys, time
import numpy as np
from distill.loader.disk_cache import DiskCache
from distill.loader.sampler import Chunk
cache = DiskCache(1 << 20)
cache.put(0, Chunk(0, 0, 0, 3), {"row": np.arange(3)})
print("put", flush=True)
time.sleep(3600)
"""


def test_what_a_killed_process_left_stays_or_a_living_one_loses_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    started = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        )
        for _ in "ab"
    ]
    try:
        for process in started:
            assert process.stdout.readline() == "put\n"
        assert len(files(tmp_path)) == 2
        started[0].send_signal(signal.SIGKILL)
        started[0].wait()
        assert len(files(tmp_path)) == 2
        mine = DiskCache(1 << 20)
        (left,) = files(tmp_path)
        assert f"/{started[1].pid}-" in str(left)
        mine.put(0, CHUNK, ARRAYS)
        same(mine.get(0, CHUNK), ARRAYS)
        mine.close()
        assert files(tmp_path) == [left]
    finally:
        for process in started:
            process.kill()
            process.wait()
    DiskCache(1 << 20).close()
    assert not files(tmp_path)
    assert os.listdir(next(tmp_path.iterdir())) in ([], ["lock"])


def remote_dataset(root, folder):
    """A pool and a label set in a store; shards of some row groups."""
    write_pool(folder, [300, 200], row_group_rows=50)
    pool = open_storage(f"{root}/pool")
    for file in sorted(folder.iterdir()):
        pool.put(file.name, file.read_bytes())
    inventory = take_inventory(open_storage(f"{root}/root"), "pool", pool)
    labels = LabelWriter(read_state(open_storage(f"{root}/labels"), "teacher", 1))
    contract = a_contract()
    labels.begin(contract, inventory, 64)
    for part in inventory.fragments(64):
        labels.add(
            commit_labels(
                labels.folder,
                claim_of(part),
                some_labels(part.rows, contract, seed=part.start),
                contract,
            )
        )
    columns = {
        "0": LabelColumn(contract, (labels.snapshot(),), None),
        "1": TargetColumn("kind", KIND),
    }
    return Dataset((inventory,), FEATURES, 4, columns)


@pytest.fixture
def nothing_cached(monkeypatch):
    """Neither decoded chunks nor what they share stays in memory."""
    from distill.loader import label_rows
    from distill.pools import row_cache

    monkeypatch.setattr(cache_module, "CACHE_BYTES", 0)
    for values in (label_rows._fragments, row_cache._rows):
        monkeypatch.setattr(values, "most_bytes", 0)
        monkeypatch.setattr(values, "_slots", type(values._slots)())


def epochs(dataset, disk):
    """Batches of three epochs, and what each asked of the stores."""
    sampler, seen, asked = Sampler(cut_chunks(dataset.groups, 2, 64), 2, 16, seed=1), [], []
    loader = Loader(dataset, sampler, rank=0, workers=1, disk=disk)
    batches = loader.batches()
    for _ in range(3):
        before = requests()
        seen += [
            {name: values.copy() for name, values in each.items()}
            for each in islice(batches, sampler.steps_per_epoch)
        ]
        asked.append(requests() - before)
    loader.close()
    return seen, asked


def test_a_second_epoch_asks_the_store_again(s3_root, tmp_path, nothing_cached):
    dataset = remote_dataset(s3_root, tmp_path / "pool")
    assert dataset.remote
    plain, again = epochs(dataset, None)
    disk = DiskCache(1 << 30, tmp_path / "cache")
    cached, asked = epochs(dataset, disk)
    disk.close()
    assert asked[0].get > 0
    assert asked[1:] == [RequestCounts(), RequestCounts()]
    assert again[1].get > 0, "without the cache a second epoch reads the store"
    print(
        f"S3 requests by epoch, without: {[each.get for each in again]}, with: {[each.get for each in asked]}"
    )
    for mine, due in zip(cached, plain, strict=True):
        same(mine, due)


def test_half_of_the_chunks_on_disk_are_read_twice(s3_root, tmp_path, nothing_cached):
    dataset = remote_dataset(s3_root, tmp_path / "pool")
    plain, without = epochs(dataset, None)
    disk = DiskCache(
        sum(values.nbytes for values in dataset.load(Chunk(0, 0, 0, 250)).values()),
        tmp_path / "cache",
    )
    cached, asked = epochs(dataset, disk)
    disk.close()
    assert 0 < asked[1].get < without[1].get
    for mine, due in zip(cached, plain, strict=True):
        same(mine, due)


def test_rows_of_this_disk_are_copied_on_it(tmp_path, nothing_cached):
    write_pool(tmp_path / "pool", [100])
    dataset = Dataset((list_pool(tmp_path / "root", tmp_path / "pool"),), FEATURES, 4)
    disk = DiskCache(1 << 30, tmp_path / "cache")
    _, asked = epochs(dataset, disk)
    assert asked[2].get > 0
    assert not files(tmp_path / "cache")
    disk.close()


def test_a_dataset_on_this_disk_is_called_remote(tmp_path):
    write_pool(tmp_path / "pool", [20])
    inventory = list_pool(tmp_path / "root", tmp_path / "pool")
    assert not Dataset((inventory,), VectorFeatures(kind="vector", columns=("pixels",)), 4).remote
    labels = empty_label_set("s3://bucket/labels")
    columns = {
        "0": LabelColumn(a_contract(), (labels,), None),
        "1": TargetColumn("kind", Outputs("value")),
    }
    assert Dataset((inventory,), FEATURES, 4, columns).remote
