"""Label columns to the bytes of one data file, and back: Arrow IPC or Parquet, as the contract
says.

The columns and their digest are the same in both. Arrow is faster (no pages, no levels) and the
default; Parquet is for lakes, with a checksum on each page that is verified when it is read.

Nothing that is read is executed: extension types, whose deserialisers are code, are looked for in
the footer before Arrow sees it, and files whose schema is not the contract's are refused.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from distill.core.errors import StorageError
from distill.labels.columns import label_schema
from distill.labels.contract import Contract
from distill.labels.encryption import encryption_of, is_encrypted, read_encrypted

# on these bytes, levels up to 9 save at most 3% and take 4 to 10 times as long (3 saves nothing)
_ZSTD_LEVEL = 1
_NOTE = b"distill.attempt"
_HIDDEN = "content"
# how far before the end a footer's length stands, and what a footer of ours never holds: Arrow
# types beyond the plain ones
_FOOTERS: Mapping[str, tuple[int, bytes]] = {
    "arrow": (10, b"ARROW:extension"),
    "parquet": (8, b"ARROW:schema"),
}


def data_bytes(labels: pa.Table, contract: Contract, note: bytes | None = None) -> bytes:
    """Write label columns, the pool's keys beside them, as a data file. The same columns give the
    same bytes under the same pyarrow. A `note` stands in the file's metadata (`read_note`)."""
    # one record batch: the same columns give the same bytes, however they were gathered
    table = labels.combine_chunks()
    if note is not None:
        metadata = {_NOTE: note}
        table = table.replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    if contract.format == "parquet":
        _write_parquet(table, sink, contract.key if contract.encrypted else "")
    else:
        _write_arrow(table, sink)
    return bytes(sink.getvalue())


def read_data(content: bytes, contract: Contract, where: str = "a data file") -> pa.Table:
    """Read the label columns of a data file. Raises StorageError for damage and for any schema but
    the contract's."""
    if contract.encrypted:
        _require_encrypted(content, where)
    else:
        _require_plain_types(content, contract, where)
    try:
        table = _read(content, contract, where)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StorageError(
            f"{where} is damaged, or no {contract.format} file: {error}. Restore it from a copy."
        ) from None
    table = table.replace_schema_metadata(None)
    found = table.schema
    key_types = _key_types(found, contract)
    due = label_schema(contract, key_types)
    if found != due:
        message = f"{where} has the columns\n{found}\nwhere\n{due}\nare due by its contract."
        raise StorageError(message)
    return table


def read_note(content: bytes, contract: Contract) -> bytes | None:
    """Return the note in the metadata of a data file that `read_data` could read; None where it was
    written without one."""
    metadata = _read(content, contract, "a data file").schema.metadata or {}
    note: bytes | None = metadata.get(_NOTE)
    return note


def with_keys(labels: pa.Table, keys: pa.Table, contract: Contract) -> pa.Table:
    """Put the pool's pass-through columns, row for row, before the label columns.

    Raises ValueError for anything but strings and integers."""
    if not contract.keys:
        return labels
    columns = {name: _plain_key(name, keys[name]) for name in contract.keys}
    types = {name: column.type for name, column in columns.items()}
    arrays = [*columns.values(), *labels.columns]
    schema = label_schema(contract, types)
    return pa.table(arrays, schema=schema)


def parquet_bytes(table: pa.Table, key: str = "") -> bytes:
    """Return a table of plain types as a Parquet file, encrypted where `key` says where the key
    lies. Raises JobError where that is missing."""
    sink = pa.BufferOutputStream()
    whole = table.combine_chunks()
    _write_parquet(whole, sink, key)
    return bytes(sink.getvalue())


def hidden_bytes(content: bytes, key: str) -> bytes:
    """Return bytes encrypted as a table is, by the key that `key` says where it lies."""
    column = pa.array([content], pa.large_binary())
    return parquet_bytes(pa.table({_HIDDEN: column}), key)


def shown_bytes(content: bytes, where: str) -> bytes:
    """Return what `hidden_bytes` encrypted, and other bytes as they are. Raises StorageError for
    damage and for another key, JobError for a missing one."""
    if not is_encrypted(content):
        return content
    (shown,) = read_encrypted(content, where)[_HIDDEN].to_pylist()
    return bytes(shown)


def _write_parquet(table: pa.Table, sink: pa.BufferOutputStream, key: str) -> None:
    # Packed bytes have no order that statistics could use, and a reader needs no Arrow schema.
    # How far encrypted ones shrink would say what they are: their size is of their rows alone.
    import pyarrow.parquet as pq

    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="none" if key else "zstd",
        compression_level=None if key else _ZSTD_LEVEL,
        use_dictionary=False,
        write_statistics=False,
        store_schema=False,
        # encrypted pages are authenticated; a checksum's varint would change their size
        write_page_checksum=not key,
        encryption_properties=encryption_of(key) if key else None,
    ) as writer:
        writer.write_table(table, row_group_size=max(1, len(table)))
        # by itself: without the Arrow schema, what stands in its metadata is not written either
        metadata = table.schema.metadata
        if metadata:
            writer.add_key_value_metadata(metadata)


def _write_arrow(table: pa.Table, sink: pa.BufferOutputStream) -> None:
    codec = pa.Codec("zstd", compression_level=_ZSTD_LEVEL)
    options = pa.ipc.IpcWriteOptions(compression=codec, use_threads=False)
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)


def _require_plain_types(content: bytes, contract: Contract, where: str) -> None:
    """Refuse extension types without asking Arrow."""
    # Arrow would execute what deserialises them
    offset, foreign = _FOOTERS[contract.format]
    size = int.from_bytes(content[-offset:][:4], "little")
    start = -offset - size
    footer = content[start:]
    if foreign in footer:
        raise StorageError(
            f"{where} has Arrow types beyond the plain ones, which distill never writes and does"
            " not open."
        )


def _require_encrypted(content: bytes, where: str) -> None:
    """Refuse a plain file in place of an encrypted one."""
    # anybody who can write there may have put the plain one
    if not is_encrypted(content):
        raise StorageError(
            f"{where} is not encrypted, where its contract says that it is. Restore it from a copy."
        )


def _read(content: bytes, contract: Contract, where: str) -> pa.Table:
    if contract.encrypted:
        return read_encrypted(content, where)
    buffer = pa.py_buffer(content)
    if contract.format == "parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(buffer, page_checksum_verification=True) as file:
            return file.read(use_threads=False)
    return pa.ipc.open_file(buffer).read_all()


def _key_types(schema: pa.Schema, contract: Contract) -> dict[str, pa.DataType]:
    """The contract's keys in the types that the file has, where a key may have them; in text where
    it has none such."""
    found = {field.name: field.type for field in schema if _is_key(field.type)}
    return {name: found.get(name, pa.string()) for name in contract.keys}


def _is_key(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_integer(kind))


def _plain_key(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        kind = pa.string()
    if not _is_key(kind):
        raise ValueError(
            f"keys: column {name!r} holds {column.type}; a key is a string or an integer. Leave it"
            " out of keys."
        )
    return column.cast(kind)
