"""How long stores may take, and what waits for them: nothing hangs or trickles for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

from distill.storage.answers import BrokenBodyError

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
"""Of silence on a line."""
PATIENCE_SECONDS = 30.0
SLOWEST_BYTES_PER_SECOND = 32_000
LARGEST_BYTES = 64 << 20
"""What a whole object of unknown size may hold, where its time is limited."""
CONNECTIONS = 64
"""Requests at once, and lines that are kept."""
_ENDING_SECONDS = 2.0
"""What requests in work have at the end."""


def seconds_for(size_bytes: float) -> float:
    """Return the time after which a request that moves so many bytes is given up."""
    return PATIENCE_SECONDS + size_bytes / SLOWEST_BYTES_PER_SECOND


class Pace:
    """How fast an answer comes, its headers and its body, from now on."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._come_bytes = 0

    def add(self, size_bytes: int) -> None:
        """Raise BrokenBodyError where it comes too slowly to wait for its end."""
        self._come_bytes += size_bytes
        seconds = time.monotonic() - self._began
        if seconds > seconds_for(self._come_bytes):
            raise BrokenBodyError(f"{self._come_bytes:,} bytes came in {seconds:.0f} s")


def result_of(filesystem: Any, work: Any, size_bytes: float = 0) -> Any:
    """Return `work`, or where that is a coroutine what it comes to on the filesystem's event loop,
    in the time for `size_bytes`. Raises TimeoutError, CancelledError."""
    if not isinstance(work, Coroutine):
        return work
    in_time = asyncio.wait_for(work, seconds_for(size_bytes))
    return asyncio.run_coroutine_threadsafe(in_time, filesystem.loop).result()


class Threads:
    """Those on which the requests of one client wait side by side."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(CONNECTIONS, "distill-get")
        self._in_work: set[Future[None]] = set()

    def run(self, work: Sequence[Callable[[], None]]) -> None:
        """Do all at once, to the end. Raises the first error."""
        if len(work) == 1:
            work[0]()
            return
        futures = [self._pool.submit(each) for each in work]
        for future in futures:
            self._in_work.add(future)
            future.add_done_callback(self._in_work.discard)
        # `wait` would wait for ever for one that `close` cancelled before it began
        for future in futures:
            with suppress(Exception):
                future.result()
        for future in futures:
            future.result()

    def close(self) -> None:
        """End the threads; a store that is silent is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        _, unfinished = wait(self._in_work, _ENDING_SECONDS)
        if not unfinished:
            self._pool.shutdown()
