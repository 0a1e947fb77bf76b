"""Rows of a fragment as the labeler sees them, piece by piece: read ► decode. It runs in the
labeler's actor, or in a task on the cluster.

A piece is whole batches, counted from the fragment's start, and some megabytes: decoding a piece
costs less than decoding its batches one by one, and memory holds pieces and not a fragment. Pieces
are the same wherever they are made. A file is read as pieces are asked for, and whoever stopped
within a row group goes on there, so the fragments of a large one decode it once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from distill.pools.features import Rows, decode_features
from distill.pools.formats.open import format_named
from distill.pools.formats.reader import RowReader
from distill.spec.pools import Features, TextFeatures
from distill.storage.open import open_storage

_PIECE_BYTES = 8 << 20
_TEXT_BYTES = 2_048
"""What a text is taken for: nobody knows before it is read."""

_near = threading.local()
"""The file that this thread reads, where it stopped within it; two threads of one actor read two.
"""


@dataclass(frozen=True)
class RowRequest:
    """Which rows, and how they are decoded."""

    files: str
    key: str
    shard_id: str
    start: int
    rows: int
    features: Features
    width: int
    batch_rows: int
    format: str
    keys: tuple[str, ...] = ()
    target: str | None = None

    @property
    def piece_rows(self) -> int:
        """Rows of a piece: whole batches, one at least."""
        row_bytes = _TEXT_BYTES if isinstance(self.features, TextFeatures) else 4 * self.width
        return self.batch_rows * max(1, _PIECE_BYTES // (row_bytes * self.batch_rows))


@dataclass
class RowChunk:
    """Consecutive rows of a fragment, their pass-through keys, and their target as it stands in the
    file, where it was asked for."""

    rows: Rows
    keys: pa.Table
    target: pa.ChunkedArray | None


def read_chunks(request: RowRequest) -> Iterator[RowChunk]:
    """All rows of the request, in order. Raises PoolError, StorageError."""
    reader, stop = _reader(request), request.start + request.rows
    for start in range(request.start, stop, request.piece_rows):
        wanted = range(start, min(stop, start + request.piece_rows))
        part = reader.take(wanted, last=wanted.stop == stop)
        rows = decode_features(part.table, request.features, request.width)
        rows.rejected |= part.rejected
        yield RowChunk(
            rows, _keys(part.table, request), part.table[request.target] if request.target else None
        )
    if reader.at == reader.end:
        reader.close()


def _keys(part: pa.Table, request: RowRequest) -> pa.Table:
    """Key columns; as text where the format has no types of its own, and two files could differ."""
    keys = part.select(request.keys)
    return (
        keys
        if format_named(request.format).typed
        else keys.cast(pa.schema([(name, pa.string()) for name in keys.column_names]))
    )


def _reader(request: RowRequest) -> RowReader:
    """A reader that stands before the first row."""
    files, wanted = open_storage(request.files), range(request.start, request.start + request.rows)
    columns = [
        *request.features.columns,
        *request.keys,
        *([request.target] if request.target else []),
    ]
    listed = request.shard_id or None
    near: RowReader | None = getattr(_near, "reader", None)
    if near is not None and near.stands_before(files, request.key, wanted, columns, listed):
        return near
    if near is not None:
        near.close()
    part_rows = min(request.piece_rows, request.rows)
    _near.reader = near = RowReader(
        files,
        request.key,
        wanted,
        columns,
        format=request.format,
        part_rows=part_rows,
        listed=listed,
    )
    return near
