"""Rows drawn by a hash of where they lie."""

from __future__ import annotations

import numpy as np
import pytest

from distill.core.errors import StorageError
from distill.pools.split import RowSet, below, row_hashes, sample, write_rows, write_split
from distill.storage.open import open_storage
from tests.resolved import open_pool
from tests.tiny import pixels, tiny_job, write_pool

JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    target = "kind"
    classes = ["a", "b", "c"]
    [pools.drawn]
    path = "drawn"
"""


def drawn(folder, shard_rows):
    """The pool, and its rows."""
    table = write_pool(folder / "rows", shard_rows)
    return open_pool(tiny_job(folder, JOB), "rows"), table


def half(pool):
    """Half of its rows."""
    return RowSet(pool, lambda shard: below(row_hashes(shard, 1, 0), 0.5))


def test_a_share_is_about_that_share_and_another_purpose_draws_others(tmp_path):
    pool, _ = drawn(tmp_path, [3_000])
    (shard,) = pool.inventory.shards
    one = below(row_hashes(shard, 1, 0), 0.3)
    assert 820 < one.sum() < 980
    for other in (row_hashes(shard, 1, 1), row_hashes(shard, 2, 0)):
        both = (one & below(other, 0.3)).sum()
        assert 200 < both < 340  # 270 of two that know nothing of each other


def test_growth_moves_no_row(tmp_path):
    pool, _ = drawn(tmp_path, [50, 60])
    before = half(pool).numbers()
    write_pool(tmp_path / "more", [40])
    (tmp_path / "more" / "part-00000.parquet").rename(tmp_path / "rows" / "part-00002.parquet")
    after = half(open_pool(tiny_job(tmp_path, JOB), "rows")).numbers()
    assert before.tolist() == after[after < 110].tolist()
    assert (after >= 110).any()


@pytest.mark.parametrize("rows", [1, 37, 109, 110, 500])
def test_a_sample_has_as_many_rows_as_are_asked_for(tmp_path, rows):
    pool, _ = drawn(tmp_path, [50, 60])
    assert len(sample(pool, rows, 1, 0).numbers()) == min(rows, 110)


def test_what_is_written_is_read_as_those_rows_in_order(tmp_path):
    pool, table = drawn(tmp_path, [50, 60])
    folder = open_storage(str(tmp_path / "drawn"))
    for _ in range(2):  # a second time, as after a kill
        write_rows(folder, [half(pool)], ("pixels", "kind"))
    job = tiny_job(tmp_path, JOB)
    spec = job.pools["drawn"].model_copy(update={"format": "selection"})
    job = job.model_copy(update={"pools": {**job.pools, "drawn": spec}})
    chosen = open_pool(job, "drawn")
    assert "email" not in chosen.schema.names
    due = pixels(table)[half(pool).numbers()]
    assert chosen.inventory.rows == len(due)
    np.testing.assert_array_equal(chosen.first_seen(), due[:64])


def test_a_file_with_another_content_is_not_taken_for_it(tmp_path):
    pool, _ = drawn(tmp_path, [50])
    folder = open_storage(str(tmp_path / "drawn"))
    write_split(folder, half(pool), ("pixels",))
    (entry,) = folder.list_objects()
    folder.put(entry.key, b"other")
    with pytest.raises(StorageError, match="holds something else"):
        write_split(folder, half(pool), ("pixels",))
