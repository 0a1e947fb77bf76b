"""The one place that asks a store again. The clients below never do by themselves, so waits do not
multiply.

What passes by itself (an overloaded or restarting store, a broken line) is asked again after 0.1 s,
0.2 s … 4 s, each time a random part of that so that workers do not come back in step, until
`LIMIT_SECONDS` after the first failure: a store that is killed and comes back within a minute is
only a pause. As long as a store (a bucket, a host) answers nothing, the first failure is that of the
whole process, so waits do not add up either: a command whose store is gone gives up once, and not
again for its manifest, its lease and each fragment. After `QUIET_SECONDS` a log line says what is
waited for (one line per `LINE_EVERY_SECONDS` and store, however many threads wait); after the limit
a StorageError does.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from distill.core.errors import StorageError

log = logging.getLogger(__name__)

LIMIT_SECONDS = 90.0
QUIET_SECONDS = 3.0
LINE_EVERY_SECONDS = 15.0
_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 4.0

T = TypeVar("T")


def until_answered(
    ask: Callable[[], T], where: str, passing: Callable[[Exception], str | None]
) -> T:
    """Return what `ask()` returns, asked again while `passing(error)` gives a reason to.

    Other errors come through as they are. Raises StorageError when the store has not answered for
    `LIMIT_SECONDS`.
    """
    silence = _silences.setdefault(_store(where), _Silence())
    first = math.inf
    tries = 0
    while True:
        try:
            answer = ask()
        except Exception as error:
            reason = passing(error)
            if reason is None:
                silence.end()
                raise
            now = time.monotonic()
            first = min(first, now)
            tries += 1
            silent_seconds = now - min(first, silence.since(now))
            if silent_seconds >= LIMIT_SECONDS:
                raise StorageError(
                    f"{where}: the store did not answer {tries} times in {silent_seconds:.0f} s"
                    f" ({reason}). What is committed stays:"
                    " mend the store or the way to it, then run the same command again."
                ) from error
        else:
            silence.end()
            return answer
        if silent_seconds >= QUIET_SECONDS and silence.is_to_be_told():
            log.warning(
                "%s: the store does not answer (%s), trying again for up to %.0f s",
                where,
                reason,
                LIMIT_SECONDS,
            )
        longest = min(_FIRST_WAIT_SECONDS * 2 ** (tries - 1), _LONGEST_WAIT_SECONDS)
        time.sleep(longest * random.uniform(0.5, 1))  # noqa: S311


class _Silence:
    """How long this process has asked a store and not been answered. After a while without a
    question it starts anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = self._failed = self._told = -math.inf
        """When it began, when a request failed last, and when a line was logged."""

    def since(self, now: float) -> float:
        """When it began; `now` is one more failure."""
        if now - self._failed >= LIMIT_SECONDS:
            self._began = now
        self._failed = now
        return self._began

    def end(self) -> None:
        """Somebody was answered."""
        self._failed = -math.inf

    def is_to_be_told(self) -> bool:
        """Once per `LINE_EVERY_SECONDS`, however many ask."""
        with self._lock:
            is_due = time.monotonic() - self._told >= LINE_EVERY_SECONDS
            if is_due:
                self._told = time.monotonic()
        return is_due


_silences: dict[str, _Silence] = {}


def _store(where: str) -> str:
    """The bucket or host of an address, `s3://bucket` of `s3://bucket/key`."""
    return "/".join(where.split("/", 3)[:3])
