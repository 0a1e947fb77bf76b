"""An iterator that runs some items ahead of who takes them, in a thread: rows are read, decoded and
prepared while the device works.

Each thread that asks has one reading thread, which lives as long: what it holds near (an open file)
serves fragment after fragment.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")

_mine = threading.local()


def ahead(items: Iterator[Item], count: int) -> Generator[Item, None, None]:
    """`items`, up to `count` of them made before they are asked for. Raises what they raise, at
    their place.

    Close it where it is not taken to its end: then `items` is at rest, and may be closed.
    """
    over = object()
    thread = _thread()
    coming: deque[Future[object]] = deque(thread.submit(next, items, over) for _ in range(count))
    try:
        while (item := coming.popleft().result()) is not over:
            coming.append(thread.submit(next, items, over))
            yield item  # type: ignore[misc]  # `over` is the one that is none
            del item
    finally:
        for each in coming:
            each.cancel()
        wait(coming)


def _thread() -> ThreadPoolExecutor:
    if not hasattr(_mine, "thread"):
        _mine.thread = ThreadPoolExecutor(1, "ahead")
    thread: ThreadPoolExecutor = _mine.thread
    return thread
