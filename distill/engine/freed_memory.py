"""Memory that a worker on a CPU has freed stays its own until its work ends.

glibc gives back to the kernel what is free at the heap's top. So what a batch is computed in is
asked for again at every batch, and the kernel fills each page with zeros anew: 65,000 pages a
training step of an encoder (32 texts of 128 tokens), which is 4 % of its CPU time, and a fifth of
that of a pass without gradients. Kept, they are none, and the most that is held at once is what it
was (2,239 MiB, 2,243).

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


def keep_freed_memory() -> None:
    """Keep what is freed from now on, as a process of its own does that ends with the work."""
    _set(_KEPT)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep what is freed for as long as the block runs, then give it back to the system."""
    _set(_KEPT)
    try:
        yield
    finally:
        if _set(_GIVEN_BACK):
            ctypes.CDLL(None).malloc_trim(0)


def _set(options: dict[int, int]) -> bool:
    """Tell the allocator. Returns whether it is glibc's."""
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    for option, value in options.items():
        set_option(option, value)
    return True
