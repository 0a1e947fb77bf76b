"""Label columns to the bytes of one data file, and back: Arrow IPC or Parquet, as the contract
says.

The columns and their digest are the same in both. Arrow is faster (no pages, no levels) and the
default; Parquet is for lakes, with a checksum on each page that is verified when it is read. zstd
at level 1: on these bytes, levels up to 9 save at most 3% and take 4 to 10 times as long (level 3
saves nothing).

Nothing that is read is executed: extension types, whose deserialisers are code, are looked for in
the footer before Arrow sees it, and files whose schema is not the contract's are refused.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from distill.core.errors import StorageError
from distill.labels.contract import Contract
from distill.labels.encoding import label_schema

_ZSTD_LEVEL = 1
_FOOTERS: Mapping[str, tuple[int, bytes]] = {
    "arrow": (10, b"ARROW:extension"),
    "parquet": (8, b"ARROW:schema"),
}
"""How far before the end a footer's length stands, and what a footer of ours never holds: Arrow
types beyond the plain ones."""


def data_bytes(labels: pa.Table, contract: Contract) -> bytes:
    """A data file of label columns, the pool's keys beside them. The same columns give the same
    bytes under the same pyarrow."""
    table = labels.combine_chunks()
    sink = pa.BufferOutputStream()
    if contract.format == "parquet":
        # plain pages without statistics or a stored Arrow schema: packed bytes have no order that a
        # reader could use
        pq.write_table(
            table,
            sink,
            row_group_size=max(1, len(table)),
            compression="zstd",
            compression_level=_ZSTD_LEVEL,
            use_dictionary=False,
            write_statistics=False,
            store_schema=False,
            write_page_checksum=True,
        )
    else:
        options = pa.ipc.IpcWriteOptions(
            compression=pa.Codec("zstd", compression_level=_ZSTD_LEVEL), use_threads=False
        )
        with pa.ipc.new_file(sink, table.schema, options=options) as writer:
            writer.write_table(table)
    return bytes(sink.getvalue())


def read_data(content: bytes, contract: Contract, where: str = "a data file") -> pa.Table:
    """The label columns of a data file. Raises StorageError for damage and for any schema but the
    contract's."""
    offset, foreign = _FOOTERS[contract.format]
    size = int.from_bytes(content[-offset:][:4], "little")
    if foreign in content[-offset - size :]:
        raise StorageError(
            f"{where} has Arrow types beyond the plain ones, which distill never writes and does"
            " not open."
        )
    try:
        table = _opened(content, contract.format)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StorageError(
            f"{where} is damaged, or no {contract.format} file: {error}. Restore it from a copy."
        ) from None
    due = label_schema(contract, _key_types(table.schema, contract))
    if table.schema.remove_metadata() != due:
        raise StorageError(
            f"{where} has the columns\n{table.schema.remove_metadata()}\nwhere\n{due}\nare due by"
            " its contract."
        )
    return table


def with_keys(labels: pa.Table, keys: pa.Table, contract: Contract) -> pa.Table:
    """The pool's pass-through columns, row for row, before the label columns. Raises ValueError for
    anything but strings and integers."""
    columns = {name: _plain_key(name, keys[name]) for name in contract.keys}
    schema = label_schema(contract, {name: column.type for name, column in columns.items()})
    return pa.table([*columns.values(), *labels.columns], schema=schema)


def _opened(content: bytes, form: str) -> pa.Table:
    if form == "parquet":
        with pq.ParquetFile(pa.py_buffer(content), page_checksum_verification=True) as file:
            return file.read(use_threads=False)
    return pa.ipc.open_file(pa.py_buffer(content)).read_all()


def _key_types(schema: pa.Schema, contract: Contract) -> dict[str, pa.DataType]:
    """The contract's keys in the types that the file has, where a key may have them; in text where
    it has none such."""
    found = {field.name: field.type for field in schema if _is_key(field.type)}
    return {name: found.get(name, pa.string()) for name in contract.keys}


def _is_key(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_integer(kind))


def _plain_key(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        kind = pa.string()
    if not _is_key(kind):
        raise ValueError(
            f"keys: column {name!r} holds {column.type}; a key is a string or an integer. Leave it"
            " out of keys."
        )
    return column.cast(kind)
