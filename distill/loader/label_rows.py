"""Rows of a label set, wherever its own fragments end."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from distill.core.errors import ContractError
from distill.labels.label_set import LabelSet
from distill.labels.manifest import ManifestEntry
from distill.loader.sampler import Chunk
from distill.pools.value_cache import CACHE_BYTES, RowCache

_fragments: RowCache[pa.Table] = RowCache(CACHE_BYTES)


def label_row_parts(labels: LabelSet, chunk: Chunk) -> Iterator[tuple[int, pa.Table]]:
    """Yield the label columns of a chunk's rows, each part with the first of its rows within the
    chunk; nothing for rows that are not labelled. Raises StorageError for lost or damaged data."""
    chunk_stop = chunk.start + chunk.rows
    for entry in labels.entries.of_shard(chunk.shard):
        start = max(entry.start, chunk.start)
        entry_stop = entry.start + entry.rows
        stop = min(entry_stop, chunk_stop)
        if start < stop:
            # a fragment that other chunks have no part of needs no place in the cache
            is_whole = stop - start == entry.rows
            table = labels.read(entry) if is_whole else _read_shared(labels, entry)
            yield start - chunk.start, table.slice(start - entry.start, stop - start)


def read_label_rows(labels: LabelSet, chunk: Chunk) -> pa.Table:
    """Read the label columns of a chunk's rows. Raises ContractError where some are not labelled,
    StorageError for lost or damaged data."""
    parts = [part for _, part in label_row_parts(labels, chunk)]
    if sum(len(part) for part in parts) != chunk.rows:
        raise ContractError(
            f"labels.{labels.name}: rows {chunk.start}–{chunk.start + chunk.rows - 1} of shard {chunk.shard} are"
            " not all labelled. Run `distill label`."
        )
    return pa.concat_tables(parts)


def _read_shared(labels: LabelSet, entry: ManifestEntry) -> pa.Table:
    """A fragment of which several chunks take parts: read once while they do."""
    key = (labels.folder.uri, entry.data)
    return _fragments.get(key, lambda: labels.read(entry), lambda table: int(table.nbytes))
