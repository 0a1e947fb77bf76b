from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import PoolError
from distill.pools.formats import arrow
from distill.pools.formats.arrow import ArrowShard
from distill.pools.formats.parquet import ParquetShard
from distill.pools.formats.reader import RowReader
from distill.pools.formats.registry import read_rows
from distill.pools.shard_id import shard_id
from distill.storage.open import open_storage
from tests.pools.formats.writing import file_of, table_file
from tests.waiting import LIMIT_SECONDS

ROWS = [{"id": n, "said": f"row {n}"} for n in range(10)]
ENDINGS = {
    "parquet": "parquet",
    "arrow": "arrow",
    "jsonl": "jsonl",
    "jsonl.gz": "jsonl",
    "csv": "csv",
}


def reader(store, key, rows, columns=("id",), part_rows=3, listed=None):
    form = ENDINGS[key.partition(".")[2]]
    return RowReader(store, key, rows, columns, format=form, part_rows=part_rows, listed=listed)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("step", [1, 3, 4, 7])
def test_rows_part_by_part_are_other_rows_than_at_once(store, ending, step):
    key = f"part.{ending}"
    store.put(key, file_of(ROWS, ending))
    for wanted in (range(10), range(3, 9), range(5, 6)):
        mine = reader(store, key, wanted, ["said", "id", "said"])
        parts = [
            mine.take(range(at, min(at + step, wanted.stop)))
            for at in range(wanted.start, wanted.stop, step)
        ]
        mine.close()
        due = read_rows(store, key, wanted, ["said", "id"], format=ENDINGS[ending])
        assert pa.concat_tables(part.table for part in parts).to_pylist() == due.table.to_pylist()


def test_a_rejected_row_is_told_at_another_place_of_its_part(tmp_path):
    store = open_storage(str(tmp_path))
    lines = [f'{{"id": {n}}}\n' for n in range(10)]
    lines[4] = lines[7] = "{broken\n"
    store.put("part.jsonl", "".join(lines).encode())
    mine = reader(store, "part.jsonl", range(10))
    assert [sorted(mine.take(range(at, at + 5)).rejected) for at in (0, 5)] == [[4], [2]]
    texts = pa.chunked_array(
        [pa.StringArray.from_buffers(3, *pa.array([b"a", b"\xff", b"c"]).buffers()[1:])] * 2
    )
    store.put("part.arrow", table_file(pa.table({"id": texts}), "arrow", 3))
    mine = reader(store, "part.arrow", range(6))
    assert [sorted(mine.take(range(at, at + 2)).rejected) for at in (0, 2, 4)] == [[1], [], [0]]


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_fragments_of_a_large_row_group_decode_it_each(tmp_path, monkeypatch, ending):
    store = open_storage(str(tmp_path))
    store.put(f"part.{ending}", table_file(pa.table({"id": range(100)}), ending, group_rows=50))
    decoded = []
    monkeypatch.setattr(ParquetShard, "stream", counted(ParquetShard.stream, decoded))
    monkeypatch.setattr(ArrowShard, "stream", counted(ArrowShard.stream, decoded))
    mine, opened = None, 0
    for start in (0, 10, 30, 50, 90):
        rows = range(start, start + 10)
        if mine is None or not mine.stands_before(store, f"part.{ending}", rows, ["id"], None):
            mine, opened = reader(store, f"part.{ending}", rows), opened + 1
        assert mine.take(rows).table["id"].to_pylist() == list(rows)
    assert opened == 2
    assert sum(decoded) <= 100
    assert not mine.stands_before(store, f"part.{ending}", range(80, 90), ["id"], None)  # behind it
    mine = reader(store, f"part.{ending}", range(50, 60))
    assert not mine.stands_before(
        store, f"part.{ending}", range(55, 101), ["id"], None
    )  # beyond it
    assert not mine.stands_before(store, f"part.{ending}", range(60, 70), ["other"], None)
    assert not mine.stands_before(store, "other", range(60, 70), ["id"], None)
    assert not mine.stands_before(store, f"part.{ending}", range(60, 70), ["id"], "listed anew")


def counted(stream, decoded):
    def streaming(self, rows, columns, part_rows):
        made = stream(self, rows, columns, part_rows)

        def parts():
            for part in made.parts:
                decoded.append(len(part.table))
                yield part

        return type(made)(made.rows, parts())

    return streaming


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_became_shorter_ends_early_without_a_word(tmp_path, ending):
    store = open_storage(str(tmp_path))
    store.put(f"part.{ending}", file_of(ROWS[:8], ending))
    with pytest.raises(PoolError, match="has no rows 6–9 any more"):
        reader(store, f"part.{ending}", range(6, 10)).take(range(6, 10))


def test_a_file_that_changed_while_it_was_read_passes_for_the_listed_one(tmp_path):
    store = open_storage(str(tmp_path))
    store.put("part.parquet", file_of(ROWS, "parquet"))
    (entry,) = store.list_objects()
    mine = reader(store, "part.parquet", range(10), listed=shard_id(entry))
    assert len(mine.take(range(5)).table) == 5
    time.sleep(0.01)
    store.put("part.parquet", file_of(ROWS, "parquet"))
    with pytest.raises(PoolError, match="changed since it was listed"):
        mine.take(range(5, 10), last=True)


def test_files_stay_open_for_ever(tmp_path):
    store = open_storage(str(tmp_path))
    store.put("part.parquet", file_of(ROWS, "parquet"))
    before = len(os.listdir("/proc/self/fd"))
    mine = reader(store, "part.parquet", range(10))
    mine.take(range(10))
    mine.close()
    with pytest.raises(PoolError, match="no column 'other'"):
        reader(store, "part.parquet", range(10), ["other"])
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_changed_file_is_read_to_its_end_before_it_is_refused(tmp_path):
    store = open_storage(str(tmp_path))
    store.put("part.parquet", file_of(ROWS, "parquet"))
    with pytest.raises(PoolError, match="changed since it was listed"):
        reader(store, "part.parquet", range(10), listed="another")
    store.put("part.parquet", b"damaged as well")
    with pytest.raises(PoolError, match=r"part\.parquet: is no readable Parquet file"):
        reader(store, "part.parquet", range(10), listed="another")


def test_a_reader_that_failed_once_has_another_word_for_every_fragment_after_it(
    tmp_path, monkeypatch
):
    store = open_storage(str(tmp_path))
    store.put("part.arrow", table_file(pa.table({"id": range(100)}), "arrow", 100))
    mine = reader(store, "part.arrow", range(10), part_rows=10)
    mine.take(range(10))
    monkeypatch.setattr("distill.pools.formats.reader.plain_columns", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        mine.take(range(10, 20))
    assert not mine.stands_before(store, "part.arrow", range(20, 30), ["id"], None)
    assert not mine.stands_before(store, "part.arrow", range(10, 20), ["id"], None)


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_file_that_was_emptied_gives_rows_without_columns(tmp_path, ending):
    store = open_storage(str(tmp_path))
    store.put(f"part.{ending}", b"id\n" if ending == "csv" else b"")
    with pytest.raises(PoolError, match="has no rows 0–4 any more"):
        reader(store, f"part.{ending}", range(10)).take(range(5))


def test_every_batch_of_an_arrow_file_opens_it_anew(tmp_path, monkeypatch):
    store, opened = open_storage(str(tmp_path)), []
    table = pa.table({"id": pa.array([f"text {n % 3}" for n in range(100)]).dictionary_encode()})
    store.put("part.arrow", table_file(table, "arrow", 5))
    real = arrow._File._open
    monkeypatch.setattr(
        arrow._File, "_open", lambda self, fields: opened.append(1) or real(self, fields)
    )
    mine = reader(store, "part.arrow", range(100))
    few = len(opened)
    assert mine.take(range(100)).table["id"].to_pylist() == [f"text {n % 3}" for n in range(100)]
    assert len(opened) == few <= 2


MEMORY = """
import sys
from distill.pools.formats.reader import RowReader
from distill.storage.open import open_storage
store, rows = open_storage(sys.argv[1]), range(int(sys.argv[2]))
mine = RowReader(store, "part.parquet", rows[:1], ["my.image"], format="parquet", part_rows=16)
before = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
mine = RowReader(store, "part.parquet", rows, ["my.image"], format="parquet", part_rows=16)
for start in range(0, len(rows), 16):
    mine.take(range(start, start + 16))
print(int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) - before >> 10)
"""


def test_memory_grows_with_the_row_group(tmp_path):
    """640 lists of 150 kB, as many numbers, lie in one row group of 96 MB, small pages each.
    Parquet keeps each as four bytes."""
    numbers = np.random.default_rng(0).integers(0, 256, 640 * 150_528, dtype=np.uint8)
    images = pa.FixedSizeListArray.from_arrays(pa.array(numbers), 150_528).cast(
        pa.list_(pa.uint8())
    )
    pq.write_table(
        pa.table({"my.image": images}), tmp_path / "part.parquet", compression="none", use_dictionary=False, write_batch_size=16
    )  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path, "640"],
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT_SECONDS,
    )
    assert int(run.stdout) < 90
