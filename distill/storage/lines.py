"""HTTP on the calling thread, by urllib3: a body goes from the socket to its bytes, uncopied, while
Python does something else.

Nothing trickles: headers and body are held to one `Pace`. A length that is announced is believed as
far as it was asked for, and beyond as it comes.
"""

from __future__ import annotations

import io
import logging
import math
import re
import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPResponse
from typing import Any, NamedTuple

import urllib3

from distill.storage import transfers
from distill.storage.answers import BrokenBodyError

_STEP_BYTES = 64 << 20
"""What is made room for before it has come."""
_PROBES = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Seconds of silence, seconds between probes, and unanswered ones. Without them a line that a
firewall forgot while nobody read costs each request that takes it `ANSWER_SECONDS`."""
_SIGNATURE = re.compile(r"(?i)sig(nature)?=")


class BodyTooLongError(BrokenBodyError):
    """More is to come than was asked for."""


class NoLengthError(BrokenBodyError):
    """Nobody could tell whether all has come."""


class Answer(NamedTuple):
    """Headers are found by names in any case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Lines:
    """Those that are kept to all servers; `headers` go with each request."""

    def __init__(
        self, headers: Mapping[str, str] | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        self._headers = headers or {}
        self.pools = urllib3.PoolManager(
            maxsize=transfers.CONNECTIONS,
            timeout=urllib3.Timeout(
                connect=transfers.CONNECT_SECONDS, read=transfers.ANSWER_SECONDS
            ),
            ssl_context=context,
            socket_options=_socket_options(),
        )
        self.pools.pool_classes_by_scheme = _POOLS

    def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        most_bytes: float = math.inf,
        redirects: int = 0,
    ) -> Answer:
        """Return the whole answer. Raises BodyTooLongError, NoLengthError, BrokenBodyError,
        urllib3's errors."""
        retries = urllib3.Retry(total=None, connect=0, read=0, other=0, redirect=redirects)
        try:
            answer = self.pools.request(
                method,
                url,
                headers={**self._headers, **(headers or {})},
                preload_content=False,
                redirect=redirects > 0,
                retries=retries,
            )
        except urllib3.exceptions.MaxRetryError as error:
            raise error.reason or error from None  # its own words hold the address
        try:
            content = _whole_body(answer, most_bytes)
        except BaseException:
            answer.close()  # with the line, on which more would come
            raise
        return Answer(answer.status, answer.headers, content)


def _whole_body(answer: urllib3.BaseHTTPResponse, most_bytes: float) -> bytes:
    if answer.status >= 300:
        return answer.read(decode_content=False)
    if answer.length_remaining is None and not answer.chunked:
        raise NoLengthError("the server does not say how long the body is")
    pieces: list[bytes] = []
    while True:
        left = answer.length_remaining
        if sum(map(len, pieces)) + (left or 0) > most_bytes:
            raise BodyTooLongError(f"more is to come than the {most_bytes:,} bytes asked for")
        # where the length is not known, one byte more tells that it is too long
        step = int(min(_STEP_BYTES, left or most_bytes + 1))
        piece = answer.read(step, decode_content=False)
        if not piece:
            # a body of one piece is not copied
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.append(piece)


class _Paced(io.RawIOBase):
    """What comes on a line from now on, not too slowly."""

    def __init__(self, line: io.RawIOBase) -> None:
        self._line = line
        self._pace = transfers.Pace()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        size_bytes = self._line.readinto(buffer)
        self._pace.add(size_bytes or 0)
        return size_bytes

    def close(self) -> None:
        self._line.close()
        super().close()


class _PacedResponse(HTTPResponse):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fp = io.BufferedReader(_Paced(self.fp.detach()))


def _paced(pool: type[urllib3.HTTPConnectionPool]) -> type[urllib3.HTTPConnectionPool]:
    plain = pool.ConnectionCls
    # by its own name, which stands in what errors say
    connection = type(plain.__name__, (plain,), {"response_class": _PacedResponse})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


_POOLS = {
    "http": _paced(urllib3.HTTPConnectionPool),
    "https": _paced(urllib3.HTTPSConnectionPool),
}


def _socket_options() -> list[tuple[int, int, int]]:
    probes = [
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in _PROBES.items()
        if hasattr(socket, name)  # each system has its own
    ]
    default = urllib3.connection.HTTPConnection.default_socket_options
    return [*default, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *probes]


def _is_unsigned(record: logging.LogRecord) -> bool:
    return _SIGNATURE.search(record.getMessage()) is None


# a program that logs all that its libraries say would log who may read an object for 15 minutes;
# of an odd header urllib3 warns, with the address, whatever is logged
for _name in ("connectionpool", "connection", "poolmanager", "util.retry"):
    logging.getLogger(f"urllib3.{_name}").addFilter(_is_unsigned)
