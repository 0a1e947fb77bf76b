"""Rows by number: the same as a plain slice of the whole file, or an error that names the file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.core.errors import PoolError
from distill.pools.formats.base import check_columns
from distill.pools.formats.registry import read_footer, read_rows
from distill.storage.open import open_storage
from distill.storage.request_counts import requests
from tests.tiny import write_pool

KEY = "part-00000.parquet"


@given(data=st.data())
def test_rows_across_row_groups_are_those_of_a_plain_slice(tmp_path_factory, data):
    rows, group = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 20))
    start = data.draw(st.integers(0, rows - 1))
    stop = data.draw(st.integers(start, rows))
    folder = tmp_path_factory.mktemp("rows")
    whole = write_pool(folder, [rows], row_group_rows=group)
    read = read_rows(
        open_storage(str(folder)), KEY, range(start, stop), ["size", "pixels"], format="parquet"
    ).table
    assert (
        read.select(["pixels", "size"]).combine_chunks()
        == whole.select(["pixels", "size"]).slice(start, stop - start).combine_chunks()
    )


def test_only_the_columns_that_are_named_leave_the_file(store):
    pq.write_table(pa.table({"a": [1, 2], "email": ["x", "y"]}), sink := pa.BufferOutputStream())
    store.put(KEY, bytes(sink.getvalue()))
    assert read_rows(store, KEY, range(2), ["a"], format="parquet").table.to_pydict() == {
        "a": [1, 2]
    }


def test_a_run_of_rows_does_not_read_the_whole_file(tmp_path):
    """The index of the file is used: another row group may be damaged and these rows still come."""
    write_pool(tmp_path, [400], width=64, row_group_rows=100)
    store, file = open_storage(str(tmp_path)), tmp_path / KEY
    plain = read_rows(store, KEY, range(100), ["pixels"], format="parquet").table
    content = bytearray(file.read_bytes())
    begin = pq.ParquetFile(file).metadata.row_group(3).column(0).data_page_offset
    content[begin : begin + 2000] = bytes(2000)
    file.write_bytes(content)
    assert read_rows(store, KEY, range(100), ["pixels"], format="parquet").table == plain
    with pytest.raises(PoolError, match=r"part-00000\.parquet: rows 300–399 cannot be read"):
        read_rows(store, KEY, range(300, 400), ["pixels"], format="parquet")


def test_rows_behind_the_end_are_an_error_and_not_fewer_rows(tmp_path):
    write_pool(tmp_path, [50])
    with pytest.raises(PoolError, match="has no rows 40–59 any more"):
        read_rows(open_storage(str(tmp_path)), KEY, range(40, 60), ["size"], format="parquet")


def test_a_shard_that_lacks_a_column_is_refused_by_name_and_not_read_without_it(tmp_path):
    write_pool(tmp_path, [50])
    with pytest.raises(
        PoolError,
        match=r"part-00000\.parquet: no column 'pixel'\. It has: pixels, kind, size, email",
    ):
        read_rows(open_storage(str(tmp_path)), KEY, range(10), ["pixel"], format="parquet")


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"no parquet at all, but long enough to be one" * 9]
)
def test_a_file_that_is_no_parquet_is_named(store, content):
    store.put(KEY, content)
    with pytest.raises(PoolError, match=r"part-00000\.parquet: is no readable Parquet file"):
        read_footer(store, KEY, "parquet")


def test_a_truncated_file_is_named(tmp_path):
    write_pool(tmp_path, [50])
    content = (tmp_path / KEY).read_bytes()
    for length in range(0, len(content), 97):
        (tmp_path / KEY).write_bytes(content[:length])
        with pytest.raises(PoolError, match="is no readable Parquet file"):
            read_footer(open_storage(str(tmp_path)), KEY, "parquet")


def test_a_file_that_is_gone_is_named(store):
    with pytest.raises(PoolError, match=r"part-00000\.parquet is not there"):
        read_rows(store, KEY, range(1), ["a"], format="parquet")


def test_extension_types_are_refused_since_reading_one_may_run_code(tmp_path):
    tensors = pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), [2]), pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))
    )
    pq.write_table(pa.table({"pixels": tensors, "plain": [1]}), tmp_path / KEY)
    store = open_storage(str(tmp_path))
    schema = read_footer(store, KEY, "parquet").schema
    with pytest.raises(PoolError, match="'pixels' is an Arrow extension type"):
        check_columns(schema, ["plain", "pixels"], "here")
    check_columns(schema, ["plain"], "here")
    with pytest.raises(PoolError, match="extension type"):
        read_rows(store, KEY, range(1), ["pixels"], format="parquet")


def test_the_footer_says_what_the_file_holds(tmp_path):
    write_pool(tmp_path, [150], row_group_rows=64)
    footer = read_footer(open_storage(str(tmp_path)), KEY, "parquet")
    assert footer.row_groups == (64, 64, 22)
    assert footer.schema.names == ["pixels", "kind", "size", "email"]


def test_a_large_row_group_on_a_store_is_fetched_twice(s3_root):
    store = open_storage(s3_root)
    columns = {f"c{number}": np.random.default_rng(number).random(400_000) for number in range(4)}
    pq.write_table(pa.table(columns), sink := pa.BufferOutputStream(), use_dictionary=False)
    store.put(KEY, bytes(sink.getvalue()))
    before = requests()
    read_rows(store, KEY, range(400_000), list(columns), format="parquet")
    done = requests() - before
    assert done.bytes_read < 1.1 * len(sink.getvalue())


def test_a_row_group_on_a_store_is_fetched_at_once_and_not_a_request_a_column(s3_root):
    store = open_storage(s3_root)
    columns = {f"c{number}": list(range(number, number + 60_000)) for number in range(12)}
    pq.write_table(pa.table(columns), sink := pa.BufferOutputStream(), use_dictionary=False)
    store.put(KEY, bytes(sink.getvalue()))
    before = requests()
    read = read_rows(store, KEY, range(60_000), list(columns), format="parquet").table
    done = requests() - before
    assert read.to_pydict() == columns
    assert done.get < len(columns) / 2
