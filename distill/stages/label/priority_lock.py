"""A lock that goes to whoever came first to the building, not to the door: of those that wait, the
one with the lowest number.

Two fragments that alternate on a device end together, are both written, and leave it idle
meanwhile. Where the older one goes first, it is written while the younger one has the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class PriorityLock:
    """Held by one thread at a time."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._held = False
        self._waiting: list[int] = []

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Wait for it, hold it, give it back."""
        with self._changed:
            self._waiting.append(number)
            try:
                self._changed.wait_for(lambda: not self._held and number == min(self._waiting))
            finally:
                self._waiting.remove(number)
            self._held = True
        try:
            yield
        finally:
            with self._changed:
                self._held = False
                self._changed.notify_all()
