"""The chunks of one dataset, decoded once where they fit: in memory up to `CACHE_BYTES`, then on
this machine's disk where the dataset lies elsewhere."""

from __future__ import annotations

import itertools
import threading

from distill.loader.dataset import Arrays, Dataset
from distill.loader.disk_cache import DiskCache
from distill.loader.sampler import Chunk

CACHE_BYTES = 256 << 20
"""What the chunks of one dataset may take in memory, decoded."""

_numbers = itertools.count()


class ChunkCache:
    """`cache(chunk)` → its arrays, which nobody may write to. For many threads."""

    def __init__(self, dataset: Dataset, disk: DiskCache | None = None) -> None:
        self.dataset = dataset
        # of another dataset on this machine's disk it would be a copy beside the original
        self.disk = disk if dataset.is_kept_near else None
        self.chunks: dict[Chunk, Arrays] = {}
        self._bytes = 0
        self._number = next(_numbers)
        """Datasets share a disk."""
        self._lock = threading.Lock()

    def __call__(self, chunk: Chunk) -> Arrays:
        """Return the arrays of one chunk. Raises what `Dataset.load` raises."""
        # without the lock: two threads that miss the same chunk both read it, and one is kept
        arrays = self.chunks.get(chunk)
        if arrays is None and self.disk is not None:
            arrays = self.disk.get(self._number, chunk)
        if arrays is not None:
            return arrays
        arrays = self.dataset.load(chunk)
        is_kept = self._keep(chunk, arrays)
        if not is_kept and self.disk is not None:
            self.disk.put(self._number, chunk, arrays)
        return arrays

    def _keep(self, chunk: Chunk, arrays: Arrays) -> bool:
        """Keep a chunk in memory; false where it does not fit."""
        size = sum(values.nbytes for values in arrays.values())
        with self._lock:
            # another thread may have read it too
            if chunk in self.chunks:
                return True
            if self._bytes + size > CACHE_BYTES:
                return False
            self.chunks[chunk] = arrays
            self._bytes += size
        return True
