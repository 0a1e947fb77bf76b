from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow.parquet as pq
import pytest

from distill.core.errors import PoolError
from distill.pools.row_cache import read_chunk
from distill.pools.value_cache import RowCache
from distill.storage.request_counts import RequestCounts, requests
from tests.making import list_pool
from tests.tiny import write_pool


def test_two_threads_make_the_same_value_twice():
    made, cache, start = [], RowCache(100), threading.Barrier(8)

    def make():
        made.append(1)
        return "value"

    def ask(_):
        start.wait()
        return cache.get("key", make, len)

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(8))) == {"value"}
    assert made == [1]


def test_more_is_held_than_the_limit_or_the_wrong_one_is_forgotten():
    made, cache = [], RowCache(10)

    def get(key):
        return cache.get(key, lambda: made.append(key) or key, lambda _: 4)

    for key in ("a", "b", "a", "c", "a", "b"):
        assert get(key) == key
    assert made == ["a", "b", "c", "b"]  # c pushed out b, which was asked for longest ago


def test_what_raises_is_held():
    cache = RowCache(10)
    with pytest.raises(KeyError):
        cache.get("key", lambda: {}["gone"], len)
    assert cache.get("key", lambda: "there", len) == "there"


def test_chunks_of_one_row_group_decode_it_again_or_see_other_rows(tmp_path):
    table = write_pool(tmp_path / "pool", [100], row_group_rows=40)
    inventory = list_pool(tmp_path / "root", tmp_path / "pool")
    for start, rows in ((0, 10), (10, 30), (0, 40), (85, 3), (95, 5), (40, 60), (30, 20)):
        taken = read_chunk(inventory, 0, range(start, start + rows), ("size",))
        np.testing.assert_array_equal(
            taken.table["size"].to_numpy(), table["size"].to_numpy()[start : start + rows]
        )
    before = requests()
    for start in (5, 20, 85):
        read_chunk(inventory, 0, range(start, start + 7), ("size",))
    assert requests() - before == RequestCounts()


def test_a_group_that_is_held_hides_that_its_file_changed(tmp_path):
    write_pool(tmp_path / "pool", [100], row_group_rows=100)
    inventory = list_pool(tmp_path / "root", tmp_path / "pool")
    file = tmp_path / "pool" / "part-00000.parquet"
    pq.write_table(pq.read_table(file).slice(0, 90), file)
    with pytest.raises(PoolError):
        read_chunk(inventory, 0, range(10), ("kind",))
