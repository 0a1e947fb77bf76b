"""Columns of Hive's partitions: read as if each file had them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from distill.core.errors import PoolError
from distill.pools.features import decode_features
from distill.pools.formats.path_columns import path_columns
from distill.pools.formats.reader import RowReader
from distill.pools.formats.registry import read_footer, read_rows
from distill.pools.formats.shard_file import FORMATS
from distill.spec.pools import VectorFeatures
from distill.storage.open import open_storage
from tests.pools.formats.writing import file_of, table_file

ROWS = [{"x": n} for n in range(10)]


@pytest.mark.parametrize(
    ("key", "columns"),
    [
        ("a.parquet", {}),
        ("year=2023/a.parquet", {"year": "2023"}),
        ("year=2023/month=01/x/a.parquet", {"year": "2023", "month": "01"}),
        ("city=S%C3%A3o%20Paulo/a=b=c/a.parquet", {"city": "São Paulo", "a": "b=c"}),
        ("day=__HIVE_DEFAULT_PARTITION__/=x/plain/a=1.parquet", {"day": None}),
    ],
)
def test_a_path_tells_other_columns_than_were_written(key, columns):
    assert path_columns(key) == columns


@pytest.mark.parametrize("ending", ["parquet", "arrow", "jsonl", "csv.gz"])
def test_a_column_of_the_path_is_unknown_or_another(store, ending):
    key = f"year=2023/day=__HIVE_DEFAULT_PARTITION__/a.{ending}"
    store.put(key, file_of(ROWS, ending))
    format = ending.partition(".")[0]
    footer = read_footer(store, key, format)
    assert (sum(footer.row_groups), footer.path_columns) == (10, ("year", "day"))
    assert footer.schema.names == ["x", "year", "day"]
    taken = read_rows(store, key, range(3, 6), ["year", "x", "day"], format=format).table
    assert taken.column_names == ["year", "x", "day"]
    assert [int(x) for x in taken["x"].to_pylist()] == [3, 4, 5]
    assert (taken["year"].to_pylist(), taken["day"].to_pylist()) == (["2023"] * 3, [None] * 3)
    reader = RowReader(store, key, range(2, 9), ["year"], format=format, part_rows=2)
    assert reader.take(range(2, 9)).table.to_pydict() == {"year": ["2023"] * 7}
    reader.close()
    with pytest.raises(PoolError, match=r"no column 'z'\. It has: x, year, day"):
        read_rows(store, key, range(1), ["z", "year"], format=format)


def test_a_column_of_the_file_itself_gives_way_to_the_path(tmp_path):
    store = open_storage(str(tmp_path))
    key = "year=2023/a.parquet"
    store.put(key, table_file(pa.table({"year": [1999], "x": [1]}), "parquet"))
    taken = read_rows(store, key, range(1), ["year"], format="parquet")
    assert taken.table.to_pylist() == [{"year": 1999}]
    assert read_footer(store, key, "parquet").path_columns == ()


def test_a_number_in_the_path_is_no_feature(tmp_path):
    store = open_storage(str(tmp_path))
    store.put("year=2023/a.parquet", table_file(pa.table({"x": [1.5, 2.5]}), "parquet"))
    table = read_rows(store, "year=2023/a.parquet", range(2), ["x", "year"], format="parquet").table
    rows = decode_features(table, VectorFeatures(kind="vector", columns=("x", "year")), 2)
    assert rows.values.tolist() == [[1.5, 2023], [2.5, 2023]]


@pytest.mark.parametrize("format", ["parquet", "arrow", "jsonl", "csv"])
def test_a_private_column_is_read_for_a_column_of_the_path(store, format, monkeypatch):
    key = f"year=2023/a.{format}"
    store.put(key, file_of([{"private": n} for n in range(10)], format))
    kind = FORMATS[format]
    for method in ("read", "stream"):
        monkeypatch.setattr(kind, method, None)
    taken = read_rows(store, key, range(3, 6), ["year"], format=format)
    assert taken.table.to_pydict() == {"year": ["2023"] * 3}
    reader = RowReader(store, key, range(2, 9), ["year"], format=format, part_rows=2)
    assert reader.take(range(2, 5)).table.to_pydict() == {"year": ["2023"] * 3}
    assert reader.take(range(5, 9)).table.to_pydict() == {"year": ["2023"] * 4}
    reader.close()
    with pytest.raises(PoolError, match="has no rows 9–10 any more"):
        read_rows(store, key, range(9, 11), ["year"], format=format)
