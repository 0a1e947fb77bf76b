"""Rows of a fragment as the labeler sees them, piece by piece: read ► decode. It runs in the labeler's actor, or in a task on the cluster.

A piece is whole batches, counted from the fragment's start, and some megabytes: decoding a piece costs less than decoding its batches
one by one, and memory holds a piece of decoded rows and not a fragment. Pieces are the same wherever they are made.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from distill.job import Features, TextFeatures
from distill.pool import INDEXED, GroupCache, Rows, decode_features, read_rows
from distill.storage import open_storage

_PIECE_BYTES = 8 << 20
_TEXT_BYTES = 2_048
"""What a text is taken for: nobody knows before it is read."""

_near = threading.local()
"""The large row group that this thread works on, part after part; two threads of one actor work on two."""


@dataclass(frozen=True)
class Request:
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
    shared: bool = False
    """Whether other fragments lie in the same row group."""

    @property
    def piece_rows(self) -> int:
        """Rows of a piece: whole batches, one at least."""
        row_bytes = _TEXT_BYTES if isinstance(self.features, TextFeatures) else 4 * self.width
        return self.batch_rows * max(1, _PIECE_BYTES // (row_bytes * self.batch_rows))


@dataclass
class Piece:
    """Consecutive rows of a fragment, and their pass-through keys."""

    rows: Rows
    keys: pa.Table


def prepare_rows(request: Request) -> Iterator[Piece]:
    """All rows of the request, in order. Raises PoolError, StorageError."""
    wanted = range(request.start, request.start + request.rows)
    columns = list(dict.fromkeys([*request.features.columns, *request.keys]))
    files, cache = open_storage(request.files), _cache(request)
    taken = read_rows(files, request.key, wanted, columns, format=request.format, listed=request.shard_id, cache=cache)
    for start in range(0, request.rows, request.piece_rows):
        part = taken.cut(start, request.piece_rows)
        rows = decode_features(part.table, request.features, request.width)
        rows.rejected |= part.rejected
        yield Piece(rows, _keys(part.table, request))


def _keys(part: pa.Table, request: Request) -> pa.Table:
    """Key columns; as text where the format has no types of its own, and two files could differ."""
    keys = part.select(request.keys)
    return (
        keys if request.format in INDEXED else keys.cast(pa.schema([(name, pa.string()) for name in keys.column_names]))
    )


def _cache(request: Request) -> GroupCache | None:
    if not request.shared:
        _near.cache = None
    elif getattr(_near, "cache", None) is None:
        _near.cache = GroupCache()
    return getattr(_near, "cache", None)
