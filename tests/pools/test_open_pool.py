"""What the first rows of a pool tell holds for all of them."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.pools.features import decode_features
from distill.pools.open_pool import OpenPool
from distill.pools.row_cache import read_chunk
from distill.pools.scan import take_inventory
from distill.spec.pools import Pool, VectorFeatures
from distill.storage.open import open_storage

VECTOR = VectorFeatures(kind="vector", columns=("x",))
TWO_THREE = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
THREE_TWO = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
NESTED = pa.list_(pa.list_(pa.float64()))


def opened(folder, *shards, kind=NESTED):
    (folder / "pool").mkdir()
    for number, rows in enumerate(shards):
        table = pa.table({"x": pa.array(rows, kind)})
        pq.write_table(table, folder / "pool" / f"{number}.parquet", row_group_size=64)
    files = open_storage(str(folder / "pool"))
    spec = Pool(path="pool", features=VECTOR)
    root = open_storage(str(folder / "root"))
    return OpenPool("mine", spec, take_inventory(root, "mine", files, spec=spec))


def rejected(pool, chunk_rows):
    """The rejected rows of each shard, decoded so many at a time."""
    seen = pickle.loads(pickle.dumps(pool.seen_features))
    found = []
    for shard in pool.inventory.shards:
        rows = []
        for start in range(0, shard.rows, chunk_rows):
            chunk = range(start, min(start + chunk_rows, shard.rows))
            batch = read_chunk(pool.inventory, shard.number, chunk, ("x",))
            decoded = decode_features(batch.table, seen, pool.width)
            rows += [start + row for row in decoded.rejected]
        found.append(sorted(rows))
    return found


@pytest.mark.parametrize("chunk_rows", [1, 3, 7, 100])
def test_rows_of_other_sides_are_taken_where_most_of_their_chunk_have_them(tmp_path, chunk_rows):
    first = [*[TWO_THREE] * 9, None, THREE_TWO, *[TWO_THREE] * 3]
    second = [*[THREE_TWO] * 8, TWO_THREE]
    pool = opened(tmp_path, first, second)
    assert (pool.width, pool.seen_features.sides) == (6, (2, 3))
    assert rejected(pool, chunk_rows) == [[9, 10], list(range(8))]


def test_what_was_found_in_a_pool_is_another_word_of_its_job(tmp_path):
    pool = opened(tmp_path, [TWO_THREE])
    assert pool.seen_features.model_dump() == pool.features.model_dump()
    assert pool.features == VECTOR
    assert VECTOR.sides == ()


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.list_(pa.float64(), 3)])
def test_plain_lists_have_sides(tmp_path, kind):
    pool = opened(tmp_path, [[1.0, 2.0, 3.0]], kind=kind)
    assert pool.seen_features is pool.features
