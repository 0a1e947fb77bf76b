"""Rows for training, chunk by chunk. A shard of a format without an index is read whole, so the last few are held, decoded once for all chunks."""

from __future__ import annotations

import functools

from distill.pool.formats import INDEXED, Taken, read_rows
from distill.pool.inventory import Inventory, Shard
from distill.storage import open_storage

_HELD_SHARDS = 2


def read_chunk(inventory: Inventory, shard: int, rows: range, columns: tuple[str, ...]) -> Taken:
    """Rows of one listed shard, with `columns`. Raises PoolError, also where the file changed since it was listed."""
    found = inventory.shard(shard)
    if inventory.format not in INDEXED:
        return _whole(inventory.uri, inventory.format, found, columns).cut(rows.start, len(rows))
    files = open_storage(inventory.uri)
    return read_rows(files, found.key, rows, columns, format=inventory.format, listed=found.id)


@functools.lru_cache(_HELD_SHARDS)
def _whole(uri: str, format: str, shard: Shard, columns: tuple[str, ...]) -> Taken:
    return read_rows(open_storage(uri), shard.key, range(shard.rows), columns, format=format, listed=shard.id)
