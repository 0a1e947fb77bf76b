"""How many rows of a pool have each class: one pass over its target column alone, a fragment at a
time."""

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
_AT_ONCE = 64


def target_counts(
    inventory: Inventory, target: str, outputs: Outputs, fragment_rows: int
) -> npt.NDArray[np.int64]:
    """Rows by class, (C,), those without a known class left out. Raises PoolError, StorageError."""

    def counted(part: Fragment) -> npt.NDArray[np.int64]:
        taken = read_chunk(
            inventory, part.shard.number, range(part.start, part.start + part.rows), (target,)
        )
        decoded = decode_target(taken.table[target], outputs)
        known = np.ones(part.rows, np.bool_)
        known[[*decoded.rejected, *taken.rejected]] = False
        return np.bincount(
            decoded.values[known].astype(np.int64), minlength=len(outputs.classes)
        ).astype(np.int64)

    total, parts = np.zeros(len(outputs.classes), np.int64), inventory.fragments(fragment_rows)
    title = f"count classes of pools.{inventory.pool}"
    with track(title, inventory.rows) as bar, ThreadPoolExecutor(_THREADS) as threads:
        while some := list(itertools.islice(parts, _AT_ONCE)):
            for part, counts in zip(some, threads.map(counted, some), strict=True):
                total += counts
                bar.advance(part.rows)
    return total
