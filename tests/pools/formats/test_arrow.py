"""Arrow IPC: what is not wanted stays unread, and damage is an error."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest

from distill.core.errors import PoolError
from distill.pools.formats import arrow
from distill.pools.formats.arrow import ArrowShard
from distill.pools.formats.reader import RowReader
from distill.pools.formats.registry import read_footer, read_rows
from distill.storage.open import open_storage
from tests.pools.formats.writing import read, table_file


class _Counted(io.BytesIO):
    taken = 0

    def read(self, *size):
        content = super().read(*size)
        self.taken += len(content)
        return content


def test_images_are_read_to_count_rows_or_for_rows_of_another_batch():
    table = pa.table({"image": [bytes(1000)] * 400, "x": np.arange(400)})
    content = table_file(table, "arrow", group_rows=100)
    file = _Counted(content)
    shard = ArrowShard(pa.PythonFile(file, "r"), "here")
    assert shard.footer().row_groups == (100, 100, 100, 100)
    assert file.taken < 0.05 * len(content)
    taken = shard.read(range(120, 180), ["image"])
    assert len(taken.table) == 60
    assert file.taken < 0.35 * len(content)


def test_a_file_cut_off_anywhere_is_read(tmp_path):
    store, content = open_storage(str(tmp_path)), table_file(pa.table({"x": range(40)}), "arrow")
    for length in range(0, len(content), 61):
        store.put("part", content[:length])
        with pytest.raises(PoolError, match="part: is no readable Arrow IPC file"):
            read_footer(store, "part", "arrow")


def test_offsets_that_point_outside_the_file_are_followed(tmp_path):
    content = table_file(pa.table({"x": pa.array([[1.0, 2.0], [3.0]])}), "arrow")
    offsets = np.array([0, 2, 3], np.int32).tobytes()
    assert content.count(offsets) == 1
    content = content.replace(offsets, np.array([0, 2, 1 << 20], np.int32).tobytes())
    with pytest.raises(PoolError, match="rows 0–1 cannot be read"):
        read(open_storage(str(tmp_path)), content, ["x"], range(2), "arrow")


def test_a_file_that_was_written_anew_with_other_batches_gives_other_rows(tmp_path):
    store, table = open_storage(str(tmp_path)), pa.table({"x": np.arange(8)})
    first, second = (
        table_file(table, "arrow", 4),
        table_file(pa.table({"x": np.arange(8) + 10}), "arrow", 4),
    )
    assert len(first) == len(second)
    for content, due in ((first, 4), (second, 14)):
        assert read(store, content, ["x"], range(4, 6), "arrow").table["x"].to_pylist() == [
            due,
            due + 1,
        ]
    shard = ArrowShard(pa.BufferReader(first), "here")
    arrow._known_batches["here", len(first)] = arrow._Batches((5, 3))
    with pytest.raises(PoolError, match="here: changed while it was read"):
        shard.read(range(2), ["x"])


def stream_of(table: pa.Table, group_rows: int) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=group_rows)
    return bytes(sink.getvalue())


TABLE = pa.table(
    {
        "x": np.arange(10),
        "s": [None if n == 4 else f"text {n}" for n in range(10)],
        "image": [bytes([n] * 100) for n in range(10)],
        "kind": pa.array(list("abcabcabca")).dictionary_encode(),
    }
)


@pytest.mark.parametrize("columns", [["s", "x"], ["x", "kind"], ["image"]])
@pytest.mark.parametrize("table", [TABLE, TABLE.drop(["kind"])], ids=["dictionary", "plain"])
def test_a_stream_is_read_as_other_rows_than_a_file(store, table, columns):
    """The form that `datasets.save_to_disk` writes."""
    columns = [name for name in columns if name in table.column_names]
    store.put("a.arrow", stream_of(table, 4))
    assert read_footer(store, "a.arrow", "arrow").row_groups == (4, 4, 2)
    assert read_footer(store, "a.arrow", "arrow").schema == table.schema
    plain = table.select(columns).to_pylist()
    for rows in (range(10), range(3, 9), range(9, 10), range(0)):
        taken = read_rows(store, "a.arrow", rows, columns, format="arrow")
        assert taken.table.to_pylist() == plain[rows.start : rows.stop]
        reader = RowReader(store, "a.arrow", rows, columns, format="arrow", part_rows=3)
        parts = [reader.take(range(row, row + 1)).table for row in rows]
        assert [row for part in parts for row in part.to_pylist()] == plain[rows.start : rows.stop]
        reader.close()


def test_a_batch_of_a_stream_is_read_by_way_of_those_before_it():
    table = pa.table({"image": [bytes(1000)] * 400, "x": np.arange(400)})
    content = stream_of(table, 100)
    file = _Counted(content)
    shard = ArrowShard(pa.PythonFile(file, "r"), "a stream")
    assert shard.footer().row_groups == (100, 100, 100, 100)
    file.taken = 0
    assert shard.read(range(320, 380), ["x"]).table["x"].to_pylist() == list(range(320, 380))
    assert file.taken < 0.35 * len(content)


def test_a_stream_that_was_cut_off_gives_fewer_rows(tmp_path):
    store, content = open_storage(str(tmp_path)), stream_of(TABLE.drop(["kind"]), 2)
    for length in range(0, len(content), 8):
        store.put("part", content[:length])
        with pytest.raises(PoolError, match=r"part: is (no readable Arrow IPC file|cut off)"):
            read_footer(store, "part", "arrow")
