"""What was decoded lately, in memory while it is used."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

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
        """Forget the oldest beyond the limit; who uses one keeps it alive."""
        with self._lock:
            total = sum(slot.bytes for slot in self._slots.values())
            # the one that is used now stays, however large it is
            while total > self.most_bytes and len(self._slots) > 1:
                _, oldest = self._slots.popitem(last=False)
                total -= oldest.bytes
