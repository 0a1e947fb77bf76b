"""Reading ahead: items are made in a thread before they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from distill.core.plugins import loaded_plugins
from distill.core.source import user_errors

Item = TypeVar("Item")

_END: Any = object()


def prefetch(
    items: Iterator[Item], thread: Executor, count: int = 1
) -> Generator[Item, None, None]:
    """Yield the items, up to `count` of them made ahead in the one thread.

    Raises what `items` raise, after the items before it. Close it where it is not taken to its end:
    then `items` does not run any more, and may be closed.
    """
    futures = deque(thread.submit(next, items, _END) for _ in range(count))
    try:
        while True:
            item = futures.popleft().result()
            if item is _END:
                return
            futures.append(thread.submit(next, items, _END))
            yield item
            # while the next is waited for, memory holds `count` items and not one more
            del item
    finally:
        # what is cancelled is not waited for: an executor that was shut down never says it is done
        wait([future for future in futures if not future.cancel()])


def reading_threads(count: int, *, debuggable: bool) -> Executor:
    """Return so many threads to read rows in; the calling one where a plugin may bring a pool
    format whose code is to be `debuggable`."""
    # a breakpoint in another thread meets whatever the others do
    if debuggable and loaded_plugins():
        return CallingThread()
    return ThreadPoolExecutor(count)


class CallingThread(Executor):
    """An executor without threads: `submit` returns when the call is done."""

    def submit(self, fn: Callable[..., Item], /, *args: Any, **kwargs: Any) -> Future[Item]:
        """Call `fn` now; what it raises is raised by the future's `result`."""
        future: Future[Item] = Future()
        try:
            result = fn(*args, **kwargs)
        except user_errors() as error:  # as a thread has it: `result` raises it
            future.set_exception(error)
        else:
            future.set_result(result)
        return future
