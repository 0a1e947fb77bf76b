"""A shard whose private columns leave it masked: rows, schemas and errors."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import PoolError
from distill.pools.formats.masking import plain_rules
from distill.pools.formats.options import with_mask, with_types
from distill.pools.formats.reader import RowReader
from distill.pools.formats.registry import read_footer, read_rows
from distill.spec.privacy import Bins, Drop, Truncate
from distill.storage.open import open_storage

RULES = {
    "email": Drop(kind="drop"),
    "name": Truncate(kind="truncate", letters=1),
    "age": Bins(kind="bins", width=10),
}
ROWS = {
    "x": [1.0, 2.0, 3.0, 4.0],
    "email": ["a@b.org"] * 4,
    "name": ["Ada", "Bob", None, "Eve"],
    "age": [17, 25, 31, 99],
}


def format_of(name="parquet"):
    return with_mask(name, plain_rules(RULES))


@pytest.fixture
def files(tmp_path):
    pq.write_table(pa.table(ROWS), tmp_path / "a.parquet", row_group_size=2)
    lines = ["x,email,name,age", "1,a@b.org,Ada,17", "2,a@b.org,Bob,old", "3,a@b.org,Eve,31,more"]
    (tmp_path / "a.csv").write_text("\n".join(lines), "utf-8")
    return open_storage(str(tmp_path))


def test_a_schema_names_a_dropped_column_or_the_files_types(files):
    schema = read_footer(files, "a.parquet", format_of()).schema
    due = {"x": pa.float64(), "name": pa.string(), "age": pa.int64()}
    assert dict(zip(schema.names, schema.types, strict=True)) == due


@pytest.mark.parametrize("rows", [range(4), range(1, 3), range(0)])
def test_the_two_ways_of_reading_mask_differently(files, rows):
    columns = ["age", "x", "name"]
    batch = read_rows(files, "a.parquet", rows, columns, format=format_of())
    reader = RowReader(files, "a.parquet", rows, columns, format=format_of(), part_rows=1)
    streamed = reader.take(rows) if len(rows) else batch
    assert batch.table.to_pydict() == streamed.table.to_pydict()
    assert batch.table["age"].to_pylist() == [10, 20, 30, 90][rows.start : rows.stop]
    assert batch.table["name"].to_pylist() == ["A", "B", None, "E"][rows.start : rows.stop]


def test_a_private_column_is_read_where_somebody_asks_for_it(files):
    with pytest.raises(PoolError, match="column 'email' is private and never read"):
        read_rows(files, "a.parquet", range(2), ["x", "email"], format=format_of())
    with pytest.raises(PoolError, match="column 'email' is private"):
        RowReader(files, "a.parquet", range(2), ["email"], format=format_of(), part_rows=1)


def test_types_that_were_pinned_before_a_column_was_private_undo_its_mask(files):
    format = with_mask(with_types("parquet", {"age": "int32", "name": "large_string"}), {})
    masked = with_mask(format, plain_rules(RULES))
    assert read_footer(files, "a.parquet", masked).schema.field("age").type == pa.int64()
    batch = read_rows(files, "a.parquet", range(4), ["age", "name"], format=masked)
    assert batch.table.schema.types == [pa.int64(), pa.string()]
    plain = read_rows(files, "a.parquet", range(4), ["age"], format=format)
    assert plain.table["age"].to_pylist() == ROWS["age"]


def test_a_damaged_row_is_quoted_beside_private_ones(files):
    batch = read_rows(files, "a.csv", range(3), ["x", "age"], format=format_of("csv"))
    assert batch.table["age"].to_pylist() == [10, None, None]
    codes = {row: code for row, (code, _) in batch.rejected.items()}
    assert codes == {1: "masked", 2: "undecodable"}
    assert "not quoted" in batch.rejected[2][1]
    # and is where nothing is private
    plain = read_rows(files, "a.csv", range(3), ["x", "age"], format="csv")
    assert "5 cells" in plain.rejected[2][1]


def test_a_missing_column_is_not_named(files):
    for name in ("parquet", "csv"):
        with pytest.raises(PoolError, match="no column 'sex'"):
            read_rows(files, f"a.{name}", range(1), ["sex"], format=format_of(name))
