"""Memory that a worker on a CPU has freed stays its own until its work ends.

glibc gives back to the kernel what is free at the heap's top. So what a batch is computed in is
asked for again at every batch, and the kernel fills each page with zeros anew: of an encoder and 32
texts of 128 tokens 105,000 pages a pass, a seventh of its CPU time, and 52,000 a training step,
which is 3 % (`tests.benchmarks.freed_memory`). Kept, they are next to none.

Only what is within the heap is kept. Blocks above 32 MiB are mapped for themselves, as ever: were
they too in the heap (`M_MMAP_MAX` = 0), small pieces that outlive a batch would split what was
freed, and the heap could grow by a block a batch.

Begun when a worker is built: what a model was loaded by is no part of a batch. Other systems than
Linux with glibc keep to their own ways.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# of <malloc.h>
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_NEVER = -1
_MIB = 1 << 20
# a thread's heap is pieces of 64 MiB, each of which goes back unless so much is to stay free
_KEPT = {_TRIM_THRESHOLD: _NEVER, _MMAP_THRESHOLD: 32 * _MIB, _TOP_PAD: 64 * _MIB}
# where glibc's own adjustment ends, which does not begin again, and what it begins with
_GIVEN_BACK = {_TRIM_THRESHOLD: 64 * _MIB, _TOP_PAD: _MIB // 8}


def keep_freed_memory(device: str) -> None:
    """Keep what is freed from now on, in a process that ends with its work; not where that is on a
    GPU."""
    if device == "cpu":
        _set(_KEPT)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep what is freed for as long as the block runs, then give it back to the system."""
    _set(_KEPT)
    try:
        yield
    finally:
        glibc = _set(_GIVEN_BACK)
        if glibc is not None:
            glibc.malloc_trim(0)


def _set(options: dict[int, int]) -> ctypes.CDLL | None:
    """Tell the allocator. Returns its library; None where that is another than glibc."""
    try:
        library = ctypes.CDLL(None)
        set_option = library.mallopt
    except (AttributeError, OSError):
        return None
    for option, value in options.items():
        set_option(option, value)
    return library
