"""The allocator that decoded rows lie in while a network is trained.

Arrow's own (mimalloc) gives the memory of a decoded row group back to the operating system when it
is dropped, and the next one is given fresh pages: where a dataset is larger than its caches, that
was a third of the CPU time of all reading. The system's allocator keeps what it has. Epochs of
`tests/benchmarks/feed_cost.py`, one after another in one process: 1.08 CPU-seconds at the median
instead of 1.62 (8 of each, on busy cores; the best ones 1.00 instead of 1.23), and a tenth more
memory at the peak.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

_CHOSEN = "ARROW_DEFAULT_MEMORY_POOL"


@contextmanager
def system_allocator() -> Iterator[None]:
    """Let this process's Arrow take memory from the system's allocator. What the user chose by
    `ARROW_DEFAULT_MEMORY_POOL` stays."""
    before = pa.default_memory_pool()
    if _CHOSEN not in os.environ:
        pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)
