"""Items that are made before they are asked for, in a thread: rows are read, decoded and prepared
while the device works.

Each thread that iterates has one prefetching thread, which lives as long as it does: a file that
the prefetching thread has open serves fragment after fragment.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from distill.loader import prefetch as ahead

Item = TypeVar("Item")

_local = threading.local()


def prefetch(items: Iterator[Item], count: int) -> Generator[Item, None, None]:
    """Yield `items` as `loader.prefetch` does, up to `count` of them made ahead in this thread's
    prefetching thread; with 0, each in the caller's thread when it is asked for."""
    if count == 0:
        yield from items
    else:
        yield from ahead.prefetch(items, _prefetching_thread(), count)


def _prefetching_thread() -> ThreadPoolExecutor:
    if not hasattr(_local, "thread"):
        _local.thread = ThreadPoolExecutor(1, "prefetch")
    thread: ThreadPoolExecutor = _local.thread
    return thread
