"""Rows written in each format, and read back as a person would expect them."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq

from distill.pools.formats.base import RowBatch
from distill.pools.formats.registry import read_rows
from distill.storage.base import Storage

PACK = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


def file_of(rows: list[dict], ending: str) -> bytes:
    """`rows` as a file of the format that `ending` names, in row groups of 4."""
    plain, _, packing = ending.rpartition(".")
    if packing in PACK:
        return PACK[packing](file_of(rows, plain))
    if ending == "jsonl":
        return "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    if ending == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()
    return table_file(pa.Table.from_pylist(rows), ending)


def table_file(table: pa.Table, ending: str, group_rows: int = 4) -> bytes:
    """A Parquet or Arrow IPC file."""
    sink = pa.BufferOutputStream()
    if ending == "parquet":
        pq.write_table(table, sink, row_group_size=group_rows)
    else:
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=group_rows)
    return bytes(sink.getvalue())


def read(
    store: Storage, content: bytes, columns: list[str], rows: range, format: str, **options
) -> RowBatch:
    """`content` put under a key and read from there."""
    key = f"part.{format}"
    store.put(key, content)
    return read_rows(store, key, rows, columns, format=format, **options)
