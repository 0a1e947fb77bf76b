"""How many rows of a pool have each class: a pass over its target alone, a fragment at a time."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from distill.core.progress import track
from distill.pools.features import decode_target
from distill.pools.inventory import Fragment, Inventory
from distill.pools.row_cache import read_chunk
from distill.spec.outputs import Outputs

_THREADS = 4
# fragments that are given to the threads together: a pool may have hundreds of thousands, and each
# thread's result waits until the bar has come to it
_AT_ONCE = 64

Counts = npt.NDArray[np.int64]


def target_counts(
    inventory: Inventory, target: str, outputs: Outputs, fragment_rows: int
) -> Counts:
    """Count rows by known class, (C,). Raises PoolError, StorageError."""
    classes = len(outputs.classes)

    def count(fragment: Fragment) -> Counts:
        rows = range(fragment.start, fragment.start + fragment.rows)
        batch = read_chunk(inventory, fragment.shard.number, rows, (target,))
        column = batch.table[target]
        decoded = decode_target(column, outputs)
        known = np.ones(fragment.rows, np.bool_)
        known[[*decoded.rejected, *batch.rejected]] = False
        numbers = decoded.values[known].astype(np.int64)
        return np.bincount(numbers, minlength=classes).astype(np.int64)

    total = np.zeros(classes, np.int64)
    fragments = inventory.fragments(fragment_rows)
    title = f"count classes of pools.{inventory.pool}"
    with track(title, inventory.rows) as bar, ThreadPoolExecutor(_THREADS) as threads:
        while some := list(itertools.islice(fragments, _AT_ONCE)):
            for fragment, counts in zip(some, threads.map(count, some), strict=True):
                total += counts
                bar.advance(fragment.rows)
    return total
