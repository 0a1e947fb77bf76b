"""A lock for which the oldest fragment goes first: of the threads that wait, the one with the lowest
number gets it.

Two fragments that alternate on a device end together, are both written, and leave it idle
meanwhile. Where the older one goes first, it is written while the younger one has the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class PriorityLock:
    """Held by one thread at a time; not reentrant."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._locked = False
        self._waiting: list[int] = []

    @contextmanager
    def hold(self, number: int) -> Iterator[None]:
        """Hold the lock, once it is free and nobody waits with a lower number."""
        with self._changed:
            self._waiting.append(number)
            try:
                self._changed.wait_for(lambda: self._is_next(number))
            finally:
                self._waiting.remove(number)
            self._locked = True
        try:
            yield
        finally:
            with self._changed:
                self._locked = False
                # all of them: each has a condition of its own, and only one finds it true
                self._changed.notify_all()

    def _is_next(self, number: int) -> bool:
        return not self._locked and number == min(self._waiting)
