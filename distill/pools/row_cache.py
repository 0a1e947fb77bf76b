"""Rows for training, chunk by chunk. What chunks share is decoded once and stays in memory while it
is used: a row group, a file of a format without an index (which is read whole), a fragment of
labels.

Where a pool has few row groups, each is cut into many chunks; all of them together are then small,
and fit.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from distill.pools.formats.base import RowBatch, groups_of
from distill.pools.formats.open import format_named
from distill.pools.formats.registry import read_rows
from distill.pools.inventory import Inventory
from distill.storage.open import open_storage

CACHE_BYTES = 256 << 20

Value = TypeVar("Value")


@dataclass
class _Slot(Generic[Value]):
    lock: threading.Lock = field(default_factory=threading.Lock)
    value: Value | None = None
    bytes: int = 0


class RowCache(Generic[Value]):
    """The values that were used last, up to `most_bytes` together; for many threads, of which one
    makes a value and others wait for it."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._slots: OrderedDict[Hashable, _Slot[Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """Return the value of `key`, made unless it is here. Raises what `make` raises."""
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
        # each slot has a lock of its own, so that one slow value does not hold up the others
        with slot.lock:
            if slot.value is None:
                slot.value = make()
                slot.bytes = size(slot.value)
                self._drop()
            return slot.value

    def _drop(self) -> None:
        """Forget the oldest beyond the limit."""
        # a thread that uses one keeps it alive
        with self._lock:
            total = sum(slot.bytes for slot in self._slots.values())
            # the one that is used now stays, however large it is
            while total > self.most_bytes and len(self._slots) > 1:
                _, oldest = self._slots.popitem(last=False)
                total -= oldest.bytes


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
