"""How long stores may take, and the bodies of their answers: nothing hangs or trickles for ever."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine, Iterable
from typing import Any

import aiohttp

from distill.storage.answers import BrokenBodyError

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
"""Of silence on a line."""
PATIENCE_SECONDS = 30.0
SLOWEST_BYTES_PER_SECOND = 32_000
_PIECE_BYTES = 1 << 20


def client_timeout() -> aiohttp.ClientTimeout:
    """Return how long a line may be silent."""
    return aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS)


def seconds_for(size_bytes: int) -> float:
    """Return the time after which a request that moves so many bytes is given up."""
    return PATIENCE_SECONDS + size_bytes / SLOWEST_BYTES_PER_SECOND


async def in_parallel(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all at once, to the end. Raises the first error."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if result is not None:
            raise result


class BodyTooLongError(Exception):
    """A body is longer than anybody wants to hold."""


class Pace:
    """How fast the body of an answer comes, of `announced` bytes where it says."""

    def __init__(self, announced: int | None) -> None:
        self._announced = announced
        self._began = time.monotonic()

    def check(self, read_bytes: int) -> None:
        """Raise BrokenBodyError where it comes too slowly to wait for its end."""
        seconds = time.monotonic() - self._began
        if seconds > seconds_for(read_bytes):
            come = f"{read_bytes:,} of {self._announced or 0:,} bytes"
            raise BrokenBodyError(f"{come} came in {seconds:.0f} s")

    def end(self, read_bytes: int) -> None:
        """Raise BrokenBodyError where it ended before its end."""
        if self._announced is not None and read_bytes != self._announced:
            come = f"{read_bytes:,} of {self._announced:,} bytes"
            raise BrokenBodyError(f"the body broke off after {come}")


async def whole_body(stream: Any, announced: int | None, *, most_bytes: float = math.inf) -> bytes:
    """Return the whole body of an answer. Raises what `Pace` does, BodyTooLongError beyond
    `most_bytes`."""
    if (announced or 0) > most_bytes:
        raise BodyTooLongError
    pace = Pace(announced)
    pieces = []
    read_bytes = 0
    # it gives what has come, so that a trickle is seen
    while piece := await stream.read(_PIECE_BYTES):
        pieces.append(piece)
        read_bytes += len(piece)
        if read_bytes > most_bytes:
            raise BodyTooLongError
        pace.check(read_bytes)
    pace.end(read_bytes)
    # a body of one piece is not copied
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
