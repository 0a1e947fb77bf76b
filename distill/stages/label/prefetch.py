"""An iterator that makes some items before they are asked for, in a thread: rows are read, decoded
and prepared while the device works.

Each thread that iterates has one prefetching thread, which lives as long as it does: a file that
the prefetching thread has open serves fragment after fragment.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")

_local = threading.local()
_END = object()


def prefetch(items: Iterator[Item], count: int) -> Generator[Item, None, None]:
    """Yield `items`, up to `count` of them made ahead in a thread; with 0, each in the caller's
    thread when it is asked for.

    Raises what `items` raise, after the items before it. Close it where it is not taken to its end:
    then `items` does not run any more, and may be closed.
    """
    if count == 0:
        yield from items
        return
    thread = _prefetching_thread()
    futures: deque[Future[object]] = deque()
    for _ in range(count):
        futures.append(thread.submit(next, items, _END))
    try:
        while True:
            item = futures.popleft().result()
            if item is _END:
                return
            futures.append(thread.submit(next, items, _END))
            yield item  # type: ignore[misc]  # `_END` alone is no Item
            # while the next is waited for, memory holds `count` items and not one more
            del item
    finally:
        for future in futures:
            future.cancel()
        wait(futures)


def _prefetching_thread() -> ThreadPoolExecutor:
    if not hasattr(_local, "thread"):
        _local.thread = ThreadPoolExecutor(1, "prefetch")
    thread: ThreadPoolExecutor = _local.thread
    return thread
