"""How long one worker had each fragment in work. Where it has two at once, each is given half of
that time, so that the seconds of all add up to those of the worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from distill.core.work import peak_memory
from distill.storage.request_counts import requests


class WorkClock:
    """Shares a worker's time, and its requests, among the fragments that it has in work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[int, float] = {}  # of each fragment in work
        self._moved = 0.0
        self._carried = 0.0  # seconds since their commit of fragments that are over: the next one's
        self._counted = requests()
        self._startup_seconds = 0.0
        self._numbers = 0

    @contextmanager
    def once(self) -> Iterator[None]:
        """Count the block, within fragments in work, as the worker's start: it is done once, and
        costs no later fragment anything."""
        began = monotonic()
        try:
            yield
        finally:
            seconds = monotonic() - began
            with self._lock:
                self._move()
                self._startup_seconds += seconds
                for number in self._seconds:
                    self._seconds[number] -= seconds / len(self._seconds)

    @contextmanager
    def building(self) -> Iterator[None]:
        """Count the block as the worker's start."""
        began = monotonic()
        yield
        now = monotonic()
        self._startup_seconds += now - began

    @contextmanager
    def working(self) -> Iterator[FragmentClock]:
        """Have one more fragment in work for as long as the block runs."""
        with self._lock:
            self._move()
            self._numbers += 1
            number = self._numbers
            self._seconds[number] = self._carried
            self._carried = 0.0
        try:
            yield FragmentClock(self, number)
        finally:
            with self._lock:
                self._move()
                self._carried += self._seconds.pop(number)

    def take(self, number: int) -> dict[str, float]:
        """Return what a fragment took until now, and begin to count for the next one."""
        with self._lock:
            self._move()
            seconds = self._seconds[number]
            self._seconds[number] = 0.0
            counted = requests()
            asked = counted - self._counted
            self._counted = counted
            work = {
                "seconds": round(seconds, 6),
                "reads": float(asked.get),
                "writes": float(asked.put + asked.list),
                "memory_bytes": float(peak_memory()),
            }
            if self._startup_seconds:
                work["startup_seconds"] = round(self._startup_seconds, 6)
                self._startup_seconds = 0.0
        return work

    def drop(self, number: int) -> None:
        """Forget the seconds that a fragment took until now."""
        with self._lock:
            self._move()
            self._seconds[number] = 0.0

    def _move(self) -> None:
        """Give the time since the last move to those in work, in equal shares."""
        now = monotonic()
        if self._seconds:
            share = (now - self._moved) / len(self._seconds)
            for number in self._seconds:
                self._seconds[number] += share
        self._moved = now


class FragmentClock:
    """What one fragment takes."""

    def __init__(self, clock: WorkClock, number: int) -> None:
        self._clock = clock
        self._number = number

    def take(self) -> dict[str, float]:
        """Return what it took until now, as a commit keeps it (`distill.core.work`)."""
        return self._clock.take(self._number)

    def drop(self) -> dict[str, float]:
        """Forget its seconds until now: another process did some of it. The worker's start and
        requests stay for the next commit."""
        self._clock.drop(self._number)
        return {}
