"""Files of addresses read as the rows that they name, whatever the base pool's format."""

from __future__ import annotations

import os
from itertools import chain

import numpy as np
import pyarrow as pa
import pytest

from distill.core.errors import PoolError, StorageError
from distill.pools.formats import selection
from distill.pools.formats.open import format_named
from distill.pools.formats.parquet import ParquetShard
from distill.pools.formats.reader import RowReader
from distill.pools.formats.registry import pool_format, read_footer, read_rows
from distill.pools.formats.selection import (
    ADDRESSES,
    FILE_ROWS,
    BasePool,
    address_files,
    read_addresses,
)
from distill.pools.shard_id import shard_id
from distill.spec.pools import POOL_FORMATS
from distill.storage.open import open_storage
from tests.pools.formats.writing import file_of

SHARDS, SHARD_ROWS = 3, 30


def _rows(shard: int) -> list[dict]:
    return [{"id": 100 * shard + n, "x": n / 4, "email": f"{n}@b.org"} for n in range(SHARD_ROWS)]


def _base(folder, ending: str):
    for shard in range(SHARDS):
        folder.put(f"part-{shard}.{ending}", file_of(_rows(shard), ending))
    return folder


def _addresses(base, chosen: list[tuple[int, int]], ending: str) -> pa.Table:
    keys = [f"part-{shard}.{ending}" for shard, _ in chosen]
    ids = {key: bytes.fromhex(shard_id(base.entry(key))) for key in keys}
    columns = {
        "selected_shard": keys,
        "shard_id": [ids[key] for key in keys],
        "selected_row": [row for _, row in chosen],
        "reason": ["test"] * len(chosen),
        "score": np.arange(len(chosen), dtype=float),
    }
    return pa.table(columns, ADDRESSES)


def _selection(store, chosen, ending="parquet"):
    """A base pool, and the one file of a selection of it."""
    base = _base(store.folder("base"), ending)
    format = ending.partition(".")[0]
    schema = read_footer(base, f"part-0.{ending}", format).schema
    schema = schema.remove(schema.get_field_index("email"))
    pool = BasePool(base.uri, format, schema)
    ((key, content),) = address_files(pool, _addresses(base, chosen, ending), 0).items()
    folder = store.folder("selection")
    folder.put(key, content)
    return base, folder, key


CHOSEN = [(0, 0), (0, 1), (0, 17), (0, 29), (1, 5), (2, 3), (2, 4), (2, 28)]


@pytest.mark.parametrize("ending", ["parquet", "arrow", "jsonl", "csv", "jsonl.gz"])
def test_an_address_is_read_as_another_row(store, ending):
    _, folder, key = _selection(store, CHOSEN, ending)
    footer = read_footer(folder, key, "selection")
    assert footer.row_groups == (len(CHOSEN),)
    assert footer.schema.names == ["id", "x", "selected_shard", "selected_row"]
    columns = ["selected_row", "id", "selected_shard"]
    batch = read_rows(folder, key, range(1, 7), columns, format="selection")
    assert batch.table.column_names == columns
    assert [int(n) for n in batch.table["id"].to_pylist()] == [100 * s + r for s, r in CHOSEN[1:7]]
    assert batch.table["selected_row"].to_pylist() == [row for _, row in CHOSEN[1:7]]
    shards = [f"part-{shard}.{ending}" for shard, _ in CHOSEN[1:7]]
    assert batch.table["selected_shard"].to_pylist() == shards
    with pytest.raises(PoolError, match="has no rows 6–11 any more"):
        read_rows(folder, key, range(6, 12), ["id"], format="selection")


@pytest.mark.parametrize("part_rows", [1, 3, 100])
def test_parts_of_another_size_are_other_rows(tmp_path, part_rows):
    _, folder, key = _selection(open_storage(str(tmp_path)), CHOSEN)
    rows = range(len(CHOSEN))
    reader = RowReader(folder, key, rows, ["id"], format="selection", part_rows=part_rows)
    found = [reader.take(range(n, n + 2)).table["id"].to_pylist() for n in range(0, 8, 2)]
    assert list(chain.from_iterable(found)) == [100 * shard + row for shard, row in CHOSEN]


def test_the_base_pool_is_decoded_again_for_each_selection_that_is_learned_from(
    tmp_path, monkeypatch
):
    _, folder, key = _selection(open_storage(str(tmp_path)), CHOSEN)
    decoded = []
    read = ParquetShard.read

    def counted(shard, rows, columns):
        decoded.append(rows)
        return read(shard, rows, columns)

    monkeypatch.setattr(ParquetShard, "read", counted)
    whole = read_rows(folder, key, range(len(CHOSEN)), ["id", "x"], format="selection")
    assert whole.table["id"].to_pylist() == [100 * shard + row for shard, row in CHOSEN]
    first = len(decoded)
    assert first >= SHARDS
    for start in range(len(CHOSEN)):
        rows = range(start, len(CHOSEN))
        part = read_rows(folder, key, rows, ["id", "x"], format="selection")
        assert part.table.equals(whole.table.slice(start))
    assert len(decoded) == first


def test_a_private_column_is_read_through_a_selection(tmp_path):
    _, folder, key = _selection(open_storage(str(tmp_path)), CHOSEN)
    with pytest.raises(PoolError, match=r"no column 'email'\. It has: id, x"):
        read_rows(folder, key, range(2), ["email"], format="selection")


def test_addresses_alone_open_the_base_pool(tmp_path):
    base, folder, key = _selection(open_storage(str(tmp_path)), CHOSEN)
    for shard in range(SHARDS):
        base.delete(f"part-{shard}.parquet")
    found = read_rows(folder, key, range(8), ["selected_row"], format="selection").table
    assert found["selected_row"].to_pylist() == [row for _, row in CHOSEN]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("changed", r"base/part-1\.parquet changed since it was listed"),
        ("shorter", r"base/part-1\.parquet changed since it was listed"),
        ("vanished", r"base/part-1\.parquet vanished"),
        ("no parquet", r"base/part-1\.parquet changed since it was listed"),
    ],
)
def test_rows_of_another_file_pass_for_those_that_were_chosen(tmp_path, harm, message):
    base, folder, key = _selection(open_storage(str(tmp_path)), CHOSEN)
    others = {
        "changed": file_of(_rows(2), "parquet"),
        "shorter": file_of(_rows(1)[:3], "parquet"),
        "no parquet": b"something else",
    }
    base.delete("part-1.parquet")
    if harm in others:
        base.put("part-1.parquet", others[harm])
    assert len(read_rows(folder, key, range(4), ["id"], format="selection").table) == 4
    with pytest.raises(PoolError, match=message):
        read_rows(folder, key, range(4, 6), ["id"], format="selection")
    reader = RowReader(folder, key, range(8), ["id"], format="selection", part_rows=2)
    with pytest.raises(PoolError, match=message):
        reader.take(range(5))


def test_rows_of_a_changed_file_outlive_its_being_restored(tmp_path):
    base, folder, key = _selection(open_storage(str(tmp_path)), CHOSEN)
    file = tmp_path / "base" / "part-1.parquet"
    times = file.stat()
    # of the same size, with other numbers
    other = [{**row, "id": row["id"] + 1} for row in _rows(1)]
    content = base.read("part-1.parquet")
    file.write_bytes(file_of(other, "parquet"))
    with pytest.raises(PoolError, match="changed since it was listed"):
        read_rows(folder, key, range(4, 5), ["id"], format="selection")
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    found = read_rows(folder, key, range(4, 5), ["id"], format="selection").table
    assert found["id"].to_pylist() == [105]


def test_a_file_that_another_thread_forgets_meanwhile_is_lost(tmp_path, monkeypatch):
    class Forgetting(dict):
        def __setitem__(self, file, addresses):
            super().__setitem__(file, addresses)
            self.clear()

    _, folder, key = _selection(open_storage(str(tmp_path)), CHOSEN)
    monkeypatch.setattr(selection, "_known_files", Forgetting())
    assert read_footer(folder, key, "selection").row_groups == (len(CHOSEN),)


def test_damaged_addresses_name_other_rows(tmp_path):
    _, folder, key = _selection(open_storage(str(tmp_path)), CHOSEN)
    content = bytearray(folder.read(key))
    content[len(content) // 2] ^= 1
    folder.put(key, bytes(content[:-1]))
    with pytest.raises(StorageError, match="is damaged"):
        read_footer(folder, key, "selection")


def test_many_base_shards_of_a_store_are_read_out_of_order(s3_root):
    chosen = [(shard, row) for shard in range(SHARDS) for row in (1, 13, 29)]
    _, folder, key = _selection(open_storage(s3_root), chosen)
    found = read_rows(folder, key, range(9), ["id"], format="selection").table["id"].to_pylist()
    assert found == [100 * shard + row for shard, row in chosen]


def test_shards_whose_types_differ_cannot_be_put_together(tmp_path):
    base = _base(open_storage(str(tmp_path / "base")), "jsonl")
    others = [{"id": f"n{n}", "x": 1.5 if n else 2} for n in range(30)]
    base.put("part-1.jsonl", file_of(others, "jsonl"))
    pool = BasePool(base.uri, "jsonl", pa.schema([("id", pa.string()), ("x", pa.int64())]))
    addresses = _addresses(base, [(0, 3), (0, 4), (1, 0), (1, 7)], "jsonl")
    ((key, content),) = address_files(pool, addresses, 0).items()
    folder = open_storage(str(tmp_path / "selection"))
    folder.put(key, content)
    found = read_rows(folder, key, range(4), ["id", "x"], format="selection").table
    assert found["id"].to_pylist() == ["3", "4", "n0", "n7"]
    assert found["x"].to_pylist() == [0.75, 1.0, 2.0, 1.5]


def test_a_selection_is_cut_into_files_that_no_store_writes_conditionally(tmp_path):
    base = _base(open_storage(str(tmp_path / "base")), "parquet")
    table = _addresses(base, [(0, row) for row in range(FILE_ROWS + 10)], "parquet")
    pool = BasePool(base.uri, "parquet", pa.schema([("id", pa.int64())]))
    files = address_files(pool, table, 3)
    assert [key[:9] for key in files] == ["003-00000", "003-00001"]
    folder = open_storage(str(tmp_path / "selection"))
    for key, content in files.items():
        assert folder.put_if_absent(key, content)
    read = pa.concat_tables([read_addresses(folder, key) for key in files])
    assert read.replace_schema_metadata(None).equals(table)


def test_a_job_or_an_ending_names_the_format():
    assert "selection" not in POOL_FORMATS
    with pytest.raises(PoolError, match="tells no format"):
        pool_format(["a.selection"], "here")
    assert format_named("selection").name == "selection"
