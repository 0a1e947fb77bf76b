"""The chunks of one source, decoded once where they fit: in memory up to `CACHE_BYTES`, then on
this machine's disk where the source lies elsewhere."""

from __future__ import annotations

import itertools
import threading

from distill.loader.dataset import Arrays, Dataset
from distill.loader.disk_cache import DiskCache
from distill.loader.sampler import Chunk

CACHE_BYTES = 256 << 20

_numbers = itertools.count()


class ChunkCache:
    """`cache(chunk)` → its arrays, which nobody may write to. For many threads."""

    def __init__(self, source: Dataset, disk: DiskCache | None = None) -> None:
        self.source, self.disk = source, disk if source.remote else None
        self.held: dict[Chunk, Arrays] = {}
        self._held_bytes = 0
        self._number = next(_numbers)
        """Sources share a disk."""
        self._lock = threading.Lock()

    def __call__(self, chunk: Chunk) -> Arrays:
        held = self.held.get(chunk)
        if held is not None:
            return held
        stored = self.disk.get(self._number, chunk) if self.disk is not None else None
        if stored is not None:
            return stored
        arrays = self.source.load(chunk)
        if not self._hold(chunk, arrays) and self.disk is not None:
            self.disk.put(self._number, chunk, arrays)
        return arrays

    def _hold(self, chunk: Chunk, arrays: Arrays) -> bool:
        """Keep it in memory if it fits."""
        size = sum(values.nbytes for values in arrays.values())
        with self._lock:
            if chunk in self.held:
                return True
            if self._held_bytes + size > CACHE_BYTES:
                return False
            self.held[chunk] = arrays
            self._held_bytes += size
        return True
