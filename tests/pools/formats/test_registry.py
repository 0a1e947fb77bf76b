"""The same rows in every format, on every store; and which format a pool has."""

from __future__ import annotations

import pyarrow as pa
import pytest

from distill.core.errors import PoolError
from distill.pools.formats.base import check_keys
from distill.pools.formats.registry import (
    pool_format,
    read_footer,
    read_rows,
    without_ending,
)
from distill.storage.open import open_storage
from tests.pools.formats.writing import PACK, file_of, read, table_file

ROWS = [{"id": n, "x": n / 4, "said": f"row {n},\n“{n}”"} for n in range(10)]
ENDINGS = {
    "parquet": "parquet",
    "arrow": "arrow",
    "jsonl": "jsonl",
    "jsonl.gz": "jsonl",
    "csv": "csv",
    "csv.gz": "csv",
}


@pytest.mark.parametrize(("ending", "format"), ENDINGS.items())
def test_a_format_or_a_store_reads_other_rows_than_were_written(store, ending, format):
    store.put(f"part.{ending}", file_of(ROWS, ending))
    footer = read_footer(store, f"part.{ending}", format)
    assert footer.row_groups == ((4, 4, 2) if format in ("parquet", "arrow") else (10,))
    assert footer.schema.names == ["id", "x", "said"]
    taken = read_rows(store, f"part.{ending}", range(3, 9), ["said", "x"], format=format)
    assert taken.rejected == {}
    assert taken.table.column_names == ["said", "x"]
    assert taken.table["said"].to_pylist() == [row["said"] for row in ROWS[3:9]]
    assert [float(x) for x in taken.table["x"].to_pylist()] == [row["x"] for row in ROWS[3:9]]
    with pytest.raises(PoolError, match="has no rows 8–11 any more"):
        read_rows(store, f"part.{ending}", range(8, 12), ["x"], format=format)
    with pytest.raises(PoolError, match=r"no column 'y'\. It has: id, x, said"):
        read_rows(store, f"part.{ending}", range(1), ["y"], format=format)


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@pytest.mark.parametrize("packing", PACK)
def test_a_packed_file_that_was_cut_off_gives_fewer_rows(tmp_path, format, packing):
    key = f"part.{format}.{packing}"
    store, whole = open_storage(str(tmp_path)), file_of(ROWS * 20, f"{format}.{packing}")
    store.put(key, whole)
    assert pool_format([key], "here") == format
    assert without_ending(f"a/{key}") == "a/part"
    assert read_footer(store, key, format).row_groups == (200,)
    for length in range(0, len(whole), 23):
        store.put(key, whole[:length])
        with pytest.raises(PoolError, match=rf"part\.\w+\.{packing}: is no whole \w+ file"):
            read_footer(store, key, format)


@pytest.mark.parametrize("packing", PACK)
def test_packed_bytes_without_their_ending_are_read_as_text(tmp_path, packing):
    content = file_of(ROWS, f"jsonl.{packing}")
    taken = read(open_storage(str(tmp_path)), content, ["id"], range(10), "jsonl")
    assert taken.table["id"].to_pylist() == list(range(10))


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@pytest.mark.parametrize(
    "content", [table_file(pa.table({"x": [1]}), "parquet"), b"PK\3\4\x14\0\0\0"]
)
def test_binary_content_is_taken_for_lines(tmp_path, format, content):
    store = open_storage(str(tmp_path))
    store.put("part", content)
    with pytest.raises(PoolError, match=r"part: is no text, but binary or packed .*\.gz, \.zst"):
        read_footer(store, "part", format)


@pytest.mark.parametrize("format", ["arrow", "jsonl", "csv", "parquet"])
def test_an_empty_file_is_read_as_rows(tmp_path, format):
    store = open_storage(str(tmp_path))
    store.put("part", b"")
    if format == "jsonl":  # nothing says that a line is missing
        assert read_footer(store, "part", format).row_groups == ()
        return
    with pytest.raises(PoolError, match="part: "):
        read_footer(store, "part", format)


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_text_that_is_no_utf8_moves_its_neighbours_or_stops_the_job(tmp_path, ending):
    texts = pa.array([b"a", b"\xff", None, b"d"], pa.binary()).view(pa.string())
    content = table_file(pa.table({"said": texts}), ending)
    taken = read(open_storage(str(tmp_path)), content, ["said"], range(4), ending)
    assert taken.table["said"].to_pylist() == ["a", None, None, "d"]
    assert {row: code for row, (code, _) in taken.rejected.items()} == {1: "undecodable"}
    assert "no UTF-8" in taken.rejected[1][1]


def test_dictionaries_are_handed_on_as_such(tmp_path):
    content = table_file(pa.table({"kind": pa.array(["a", "b", "a"]).dictionary_encode()}), "arrow")
    column = read(open_storage(str(tmp_path)), content, ["kind"], range(3), "arrow").table["kind"]
    assert column.type == pa.string()
    assert column.to_pylist() == ["a", "b", "a"]


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_an_extension_type_is_read_however_deep_it_lies(tmp_path, ending):
    kind = pa.list_(pa.json_())
    content = table_file(
        pa.table({"deep": pa.array([["{}"]], pa.list_(pa.string())).cast(kind), "x": [1]}), ending
    )
    store = open_storage(str(tmp_path))
    assert read(store, content, ["x"], range(1), ending).table["x"].to_pylist() == [1]
    with pytest.raises(PoolError, match="'deep' is an Arrow extension type"):
        read(store, content, ["deep"], range(1), ending)


@pytest.mark.parametrize(
    ("keys", "format"),
    [
        (["a.parquet", "b/c.PARQUET"], "parquet"),
        (["a.arrow", "b.feather", "c.ipc"], "arrow"),
        (["a.jsonl", "b.ndjson.gz", "c.jsonl.gz"], "jsonl"),
        (["a.csv", "b.csv.gz"], "csv"),
    ],
)
def test_endings_tell_the_format(keys, format):
    assert pool_format(keys, "here") == format


def test_mixed_or_unknown_endings_are_guessed():
    with pytest.raises(
        PoolError, match=r"here: files of several formats: parquet \(a\.parquet\), csv \(b\.csv\)"
    ):
        pool_format(["a.parquet", "b.csv"], "here")
    with pytest.raises(PoolError, match=r"the ending of 'b\.txt' tells no format"):
        pool_format(["a.parquet", "b.txt"], "here")
    assert pool_format(["b.txt"], "here", "csv") == "csv"


@pytest.mark.parametrize("kind", [pa.float32(), pa.list_(pa.int8()), pa.binary()])
def test_keys_of_types_that_no_label_file_holds_are_refused(kind):
    schema = pa.schema([("a", pa.string()), ("b", pa.uint8()), ("c", kind)])
    check_keys(schema, ["a", "b"], "here")
    with pytest.raises(PoolError, match="here: the key 'c' is of type"):
        check_keys(schema, ["a", "c"], "here")
