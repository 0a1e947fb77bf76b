"""What distill keeps in storage, for readers with or without us: Arrow schemas, their version, and
how things are digested.

Control objects (inventory and manifest segments, contracts, commits, done-markers) carry a digest
of their own content. Digests are sha256, over canonical JSON (sorted keys, no spaces) or over the
values of columns (`columns_sha256`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from distill.core.errors import StorageError
from distill.core.plain_arrow import to_numbers

# raised when anything stored changes its form; another version is refused by name
VERSION = 2

# one row a shard: number, relative path, id, size, rows, rows of each row group, how it is read.
# `retires` is the number of an earlier row that counts no more: its file changed, and this row is
# what it is now; or it is gone, and the id is null.
INVENTORY = pa.schema(
    [
        pa.field("number", pa.int64(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("row_groups", pa.list_(pa.int64()), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("retires", pa.int64()),
    ]
)

# one row a committed fragment: the `number`-th of its shard, which rows those are, under which
# attempt its labels lie, and their digests
MANIFEST = pa.schema(
    [
        pa.field("shard", pa.int64(), nullable=False),
        pa.field("number", pa.int64(), nullable=False),
        pa.field("generation", pa.int32(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("rejected", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("attempt", pa.binary(16), nullable=False),
        pa.field("shard_id", pa.binary(16), nullable=False),
        pa.field("sha256", pa.binary(32), nullable=False),
        pa.field("xxh3", pa.binary(16), nullable=False),
        pa.field("columns_sha256", pa.binary(32), nullable=False),
        pa.field("made_on", pa.string(), nullable=False),
    ]
)

# one row a rejected row: shard key, row number in the shard, reason code, message
REJECTS = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
    ]
)

_DIGEST = b"distill.digest"
_VERSION = b"distill.version"
_NOTE = b"distill.note"
_ONE_THREAD = pa.ipc.IpcReadOptions(use_threads=False)


def canonical(content: Any) -> bytes:
    """Return the canonical JSON of plain values. Raises ValueError for NaN and infinity."""
    separators = (",", ":")
    text = json.dumps(
        content, sort_keys=True, separators=separators, ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def without_usual(plain: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the options that came later, where they say what was done before: what was stored
    before they came keeps its digest."""
    return {key: value for key, value in plain.items() if key not in usual or value != usual[key]}


def digest(content: Any) -> str:
    """Return the sha256 of the canonical JSON, in hex."""
    content_bytes = canonical(content)
    return hashlib.sha256(content_bytes).hexdigest()


def seal(body: dict[str, Any]) -> bytes:
    """Return a JSON control object: the body and its digest."""
    # a flipped bit or a truncation is then an error, and never a wrong value
    sealed = {"version": VERSION, "digest": digest(body), "body": body}
    return json.dumps(sealed, ensure_ascii=False).encode()


def unseal(content: bytes, where: str) -> dict[str, Any]:
    """Return the body of a sealed object. Raises StorageError: damaged, or another version's."""
    try:
        sealed = json.loads(content)
        body = sealed["body"]
        stored = sealed["digest"]
        version = sealed.get("version", 1)
        found = digest(body)
    except (ValueError, KeyError, TypeError):
        message = f"{where} is damaged: not a sealed control object. Restore it from a copy."
        raise StorageError(message) from None
    # before the content: what another version digests may be something else
    if version != VERSION:
        raise _other_version(where, version)
    if found != stored:
        raise _other_content(where)
    return dict(body)


def columns_sha256(table: pa.Table) -> str:
    """Return the sha256, in hex, over the columns' content, whatever file they lay in and however
    the table is cut into chunks.

    Of each column in order: its name and a zero byte; one byte a row, 1 where it is valid; then of
    the valid rows the values as they stand, little-endian. Of strings and lists all lengths
    (int64), then all bytes (UTF-8), or the items as a column."""
    # over values and not over the file, which an upgrade of the library, chunks and formats change
    total = hashlib.sha256()
    for name in table.column_names:
        encoded = name.encode()
        head = encoded + b"\0"
        total.update(head)
        column = table[name]
        _digest_column(total, column)
    return total.hexdigest()


def _digest_column(total: hashlib._Hash, column: pa.ChunkedArray) -> None:
    is_valid = column.is_valid()
    total.update(to_numbers(is_valid).data)
    # the slots of nulls hold whatever the writer left there
    chunks = [chunk for chunk in column.drop_null().chunks if len(chunk)]
    if pa.types.is_string(column.type):
        for chunk, (first, last) in zip(chunks, _digest_lengths(total, chunks), strict=True):
            content = chunk.buffers()[2] or b""  # no buffer where all strings are empty
            total.update(memoryview(content)[first:last])
    elif pa.types.is_list(column.type):
        spans = _digest_lengths(total, chunks)
        items = []
        for chunk, (first, last) in zip(chunks, spans, strict=True):
            items.append(chunk.values.slice(first, last - first))
        _digest_column(total, pa.chunked_array(items, column.type.value_type))
    else:
        bit_width = column.type.bit_width
        size = bit_width // 8
        for chunk in chunks:
            _, values = chunk.buffers()
            start = chunk.offset * size
            total.update(values.slice(start, len(chunk) * size))


def _digest_lengths(total: hashlib._Hash, chunks: list[pa.Array]) -> list[tuple[int, int]]:
    """Digest the lengths of strings or lists; return where each chunk's content begins and ends."""
    spans = []
    for chunk in chunks:
        _, buffer, *_ = chunk.buffers()
        offsets = np.frombuffer(buffer, "<i4", len(chunk) + 1, chunk.offset * 4)
        differences = np.diff(offsets)
        lengths = differences.astype("<i8")
        content = lengths.tobytes()
        total.update(content)
        first = int(offsets[0])
        last = int(offsets[-1])
        span = (first, last)
        spans.append(span)
    return spans


def table_bytes(table: pa.Table, note: str = "") -> bytes:
    """Return a sealed Arrow IPC file of one batch; `note` is stored and sealed with it."""
    sha256 = _table_digest(table, note)
    metadata = {_DIGEST: sha256.encode(), _VERSION: str(VERSION).encode()}
    if note:
        metadata[_NOTE] = note.encode()
    whole = table.combine_chunks()
    sealed = whole.replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(sink, sealed.schema, options=options) as writer:
        writer.write_table(sealed)
    return bytes(sink.getvalue())


def with_note(table: pa.Table, note: str) -> pa.Table:
    """Return the table with a note for `table_note` and `table_bytes`."""
    return table.replace_schema_metadata({_NOTE: note.encode()})


def table_note(table: pa.Table) -> str:
    """Return the note of a table that `bytes_table` or `with_note` gave."""
    metadata = table.schema.metadata or {}
    return str(metadata.get(_NOTE, b"").decode(errors="replace"))


def bytes_table(content: bytes, schema: pa.Schema, where: str) -> pa.Table:
    """Return the table of a sealed Arrow file. Raises StorageError where it is damaged."""
    try:
        table = pa.ipc.open_file(pa.py_buffer(content), options=_ONE_THREAD).read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StorageError(f"{where} is damaged: {error}. Restore it from a copy.") from None
    metadata = table.schema.metadata or {}
    if metadata.get(_VERSION) != str(VERSION).encode() and _DIGEST in metadata:
        raise _other_version(where, metadata.get(_VERSION, b"1").decode(errors="replace"))
    found = table.schema.remove_metadata()
    if found != schema:
        raise StorageError(f"{where} has the schema\n{found}\nwhere\n{schema}\nis expected.")
    if _table_digest(table, table_note(table)).encode() != metadata.get(_DIGEST, b""):
        raise _other_content(where)
    return table


def _table_digest(table: pa.Table, note: str) -> str:
    columns = columns_sha256(table)
    if not note:
        return columns
    return hashlib.sha256(f"{columns} {note}".encode()).hexdigest()


def _other_content(where: str) -> StorageError:
    return StorageError(
        f"{where} is damaged: its content does not match its own digest. Restore it from a copy."
    )


def _other_version(where: str, version: object) -> StorageError:
    return StorageError(
        f"{where} has version {version!r}; this distill reads {VERSION}."
        " Use the distill that wrote it, or another root."
    )
