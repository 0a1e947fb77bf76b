"""Rows of a fragment as the labeler sees them, chunk by chunk: read ► decode. It runs in the
labeler's actor, or in a task on the cluster.

A chunk is whole batches, counted from the fragment's start, and some megabytes: decoding a chunk
costs less than decoding its batches one by one, and memory holds chunks and not a fragment. Chunks
are the same wherever they are made. Features that are a label set's values (`LabelValues`) are read
there; the file is then opened for keys and a target alone, if at all. A file is read as chunks are
asked for, and a thread that stopped within a row group goes on there, so the fragments of a large
one decode it once.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from distill.loader.merged_values import StoredValues
from distill.loader.sampler import Chunk
from distill.pools.features import Rows, decode_features
from distill.pools.formats.base import RowBatch, check_keys
from distill.pools.formats.open import format_named
from distill.pools.formats.reader import RowReader
from distill.pools.formats.registry import read_rows
from distill.pools.formats.selection import (
    ADDRESS_KEYS,
    SELECTED_ROW,
    SELECTED_SHARD,
    SelectionShard,
)
from distill.pools.inventory import Shard
from distill.pools.open_pool import OpenPool
from distill.spec.pools import Features, TextFeatures
from distill.storage.open import open_storage

_CHUNK_BYTES = 8 << 20
_TEXT_BYTES = 2_048  # what a text is taken for: its size is not known before it is read

# `reader`: the file that this thread reads, where it stopped within it; threads read apart
_local = threading.local()


@dataclass(frozen=True)
class RowRequest:
    """Which rows, and how they are decoded."""

    files: str
    key: str
    shard_id: str
    start: int
    rows: int
    features: Features | StoredValues
    width: int
    batch_rows: int
    format: str
    keys: tuple[str, ...] = ()
    target: str | None = None
    shard: int = 0  # number of the shard, by which `LabelValues` are read

    @property
    def chunk_rows(self) -> int:
        """Rows of a chunk: whole batches, one at least, and as many in each chunk as can be: the
        memory of one serves the next (chunks of 32,768 and 17,232 rows in turn took Arrow 15% more
        time than two of about 25,000)."""
        is_text = isinstance(self.features, TextFeatures)
        row_bytes = _TEXT_BYTES if is_text else 4 * self.width
        batch_bytes = row_bytes * self.batch_rows
        fitting = _CHUNK_BYTES // batch_bytes
        most = max(1, fitting)
        batches = max(1, math.ceil(self.rows / self.batch_rows))
        chunks = math.ceil(batches / most)
        return self.batch_rows * math.ceil(batches / chunks)

    @property
    def columns(self) -> list[str]:
        """Every column of the pool that is read."""
        features = () if isinstance(self.features, StoredValues) else self.features.columns
        target = [self.target] if self.target else []
        return [*features, *self.read_keys, *target]

    @property
    def read_keys(self) -> tuple[str, ...]:
        """The keys that are columns of the pool: a selection's addresses too."""
        if format_named(self.format) is SelectionShard:
            return self.keys
        return tuple(key for key in self.keys if key not in ADDRESS_KEYS)


@dataclass
class RowChunk:
    """Consecutive rows of a fragment, their pass-through keys, and their target as it stands in the
    file, where the request names one."""

    rows: Rows
    keys: pa.Table
    target: pa.ChunkedArray | None
    shard: int = 0  # number of their shard
    start: int = 0  # number of the first one within the shard


def read_first(
    pool: OpenPool, shard: Shard, rows: range, values: StoredValues | None = None
) -> Rows:
    """Read some rows of a shard at once, as a labeler sees them: the pool's features, or `values`
    in their place. Raises PoolError, StorageError."""
    if values is not None:
        return values.read(Chunk(0, shard.number, rows.start, len(rows)))
    names = pool.features.columns
    format = pool.inventory.format
    batch = read_rows(pool.files, shard.key, rows, names, format=format, listed=shard.id)
    found = decode_features(batch.table, pool.seen_features, pool.width)
    found.rejected |= batch.rejected
    return found


def read_chunks(request: RowRequest) -> Iterator[RowChunk]:
    """Yield all rows of the request, in order. Raises PoolError, StorageError."""
    reader = _reader(request) if request.columns else None
    stop = request.start + request.rows
    for start in range(request.start, stop, request.chunk_rows):
        taken = range(start, min(stop, start + request.chunk_rows))
        empty = pa.table({})
        part = RowBatch(empty)
        if reader is not None:
            part = reader.take(taken, last=taken.stop == stop)
        rows = _features(part.table, taken, request)
        rows.rejected |= part.rejected
        target = part.table[request.target] if request.target else None
        keys = _with_addresses(_keys(part.table, request), taken, request)
        yield RowChunk(rows, keys, target, request.shard, taken.start)
    if reader is not None and reader.at == reader.end:
        reader.close()


def _features(table: pa.Table, taken: range, request: RowRequest) -> Rows:
    if isinstance(request.features, StoredValues):
        return request.features.read(Chunk(0, request.shard, taken.start, len(taken)))
    return decode_features(table, request.features, request.width)


def _keys(part: pa.Table, request: RowRequest) -> pa.Table:
    """Return the key columns; as text where the format has no types of its own, and two files could
    differ. Raises PoolError for a key that is neither text nor an integer in this file."""
    keys = part.select(request.read_keys)
    if not request.read_keys or format_named(request.format).typed:
        return keys
    filled = [field.name for field in keys.schema if not pa.types.is_null(field.type)]
    check_keys(keys.schema, filled, open_storage(request.files).url(request.key))
    as_text = pa.schema([(name, pa.string()) for name in keys.column_names])
    return keys.cast(as_text)


def _with_addresses(keys: pa.Table, taken: range, request: RowRequest) -> pa.Table:
    """Return the keys in their order; where other pools of the label set are selections, also the
    addresses of rows of a pool that is none."""
    if request.keys == request.read_keys:
        return keys
    columns = {name: keys[name] for name in keys.column_names}
    columns[SELECTED_SHARD] = pa.repeat(request.key, len(taken))
    columns[SELECTED_ROW] = pa.array(taken, pa.int64())
    return pa.table({name: columns[name] for name in request.keys})


def _reader(request: RowRequest) -> RowReader:
    """Return a reader that stands before the first row: this thread's last one where it does."""
    files = open_storage(request.files)
    rows = range(request.start, request.start + request.rows)
    columns = request.columns
    shard_id = request.shard_id or None
    last: RowReader | None = getattr(_local, "reader", None)
    if last is not None:
        if last.stands_before(files, request.key, rows, columns, shard_id):
            return last
        last.close()
    reader = RowReader(
        files,
        request.key,
        rows,
        columns,
        format=request.format,
        part_rows=min(request.chunk_rows, request.rows),
        listed=shard_id,
    )
    _local.reader = reader
    return reader
