"""How long a labeler was at work: from `label` to the end of `finish`, since what `label` begins on
a GPU may go on until `finish` waits for it. Two fragments at once count once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class BusyClock:
    """Runs while at least one thread is inside `running`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._since = 0.0
        self._seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the clock run for as long as the block does."""
        with self._lock:
            if not self._inside:
                self._since = time.monotonic()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._seconds += time.monotonic() - self._since

    def take_seconds(self) -> float:
        """Return the seconds that it ran since they were taken last."""
        now = time.monotonic()
        with self._lock:
            if self._inside:
                self._seconds += now - self._since
                self._since = now
            seconds = self._seconds
            self._seconds = 0.0
        return seconds
