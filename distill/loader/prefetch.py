"""Reading ahead: the next item is made in a thread while one is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from distill.core.plugins import loaded_plugins

Item = TypeVar("Item")

_END: Any = object()


def prefetch(items: Iterator[Item], thread: Executor) -> Iterator[Item]:
    """Yield the items; while one is used, the thread makes the next one."""
    coming = thread.submit(next, items, _END)
    while True:
        item = coming.result()
        if item is _END:
            return
        coming = thread.submit(next, items, _END)
        yield item


def reading_threads(count: int, *, debuggable: bool) -> Executor:
    """Return so many threads to read rows in.

    Reading runs the user's code only where a plugin brings a pool format. Where such code shall be
    `debuggable`, it runs in the calling thread: a breakpoint in another one meets whatever the
    others do.
    """
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
        except Exception as error:  # noqa: BLE001  as a thread has it: `result` raises it
            future.set_exception(error)
        else:
            future.set_result(result)
        return future
