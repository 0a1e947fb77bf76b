"""Rows for training, chunk by chunk. What chunks share is decoded once and stays in memory while it
is used: a row group, a file of a format without an index (which is read whole), a fragment of
labels.

Where a pool has few row groups, each is cut into many chunks; all of them together are then small,
and fit.
"""

from __future__ import annotations

from distill.pools.formats.base import RowBatch, groups_of
from distill.pools.formats.open import format_named
from distill.pools.formats.registry import read_rows
from distill.pools.inventory import Inventory
from distill.pools.value_cache import CACHE_BYTES, RowCache
from distill.storage.open import open_storage

_rows: RowCache[RowBatch] = RowCache(CACHE_BYTES)


def read_chunk(inventory: Inventory, shard: int, rows: range, columns: tuple[str, ...]) -> RowBatch:
    """Read rows of one listed shard, with `columns`. Raises PoolError, also where the file changed
    since it was listed."""
    found = inventory.shard(shard)
    files = open_storage(inventory.uri)
    format = inventory.format

    def read(wanted: range) -> RowBatch:
        return read_rows(files, found.key, wanted, columns, format=format, listed=found.id)

    sizes = found.row_groups if format_named(format).indexed else (found.rows,)
    groups, around = groups_of(sizes, rows)
    # chunks follow row groups where there are many: no other chunk needs whole ones again
    if len(groups) > 1 or rows == around:
        return read(rows)
    key = (inventory.uri, format, found.id, groups[0], columns)
    group = _rows.get(key, lambda: read(around), _size_bytes)
    return group.cut(rows.start - around.start, len(rows))


def _size_bytes(batch: RowBatch) -> int:
    return int(batch.table.nbytes)
