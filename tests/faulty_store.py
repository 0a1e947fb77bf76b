"""A proxy on loopback in front of a real S3 server that does, on purpose and by seed, what networks and busy stores do by chance.

In a test (tests/storage/test_faults.py has a fixture for it):

    with FaultyStore(os.environ["AWS_ENDPOINT_URL"], [Fault("500_after", "PUT", "commits/")], seed=1) as store:
        ...                                    # with AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_S3 set to store.url
        assert store.did["500_after"] == 1     # what it really did; store.asked counts all requests by kind

Beside a process (a chaos run): the first line printed is the URL; SIGTERM ends it and prints the counts as one line of JSON;
`GET URL/-/counts` answers them at any time.

    python -m tests.faulty_store --upstream URL --port 0 --seed 7 --faults 503:PUT::0.05 500_after:PUT:commits/:0.1 slow:GET::0.02

A fault is `NAME[:METHOD[:KEY[:WHEN]]]`. METHOD is GET, PUT, LIST, HEAD, DELETE or POST (empty: any); KEY is a regular expression searched in
the unquoted path (empty: any); WHEN is a probability (`0.05`), `#3` for the third request that matches, or `#1-4` (empty: every one).
The first fault that matches and is due happens. Names:

    503             SlowDown, not forwarded              500_before      InternalError, not forwarded
    500_after       forwarded and kept, then InternalError
    reset_before    the line is reset, not forwarded     reset_after     forwarded and kept, then the line is reset
    timeout         nothing is forwarded or answered for HANG_SECONDS, then a reset
    slow            the answer trickles, TRICKLE_SECONDS in all          truncated   the line ends in the middle of the body
    flipped         one bit of the body is another

The Host header is passed as it came, so signatures hold. A store that is gone is a reset, as it would be without the proxy.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import re
import signal
import socket
import struct
import sys
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HANG_SECONDS = 600.0
TRICKLE_SECONDS = 3.0
NAMES = [
    "503",
    "500_before",
    "500_after",
    "reset_before",
    "reset_after",
    "timeout",
    "slow",
    "truncated",
    "flipped",
]
_ERRORS = {
    "503": (503, "SlowDown"),
    "500_before": (500, "InternalError"),
    "500_after": (500, "InternalError"),
}
_HOP = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "content-length",
}


@dataclass(frozen=True)
class Fault:
    """What goes wrong (`name`), for which requests, and for which of those: the `nth` (from 1), or
    each by `probability`."""

    name: str
    method: str = ""
    key: str = ""
    nth: range | None = None
    probability: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"no fault {self.name!r}; there are: {', '.join(NAMES)}")

    @classmethod
    def parse(cls, text: str) -> Fault:
        name, method, key, when = [*text.split(":", 3), "", "", ""][:4]
        if when.startswith("#"):
            first, _, last = when[1:].partition("-")
            return cls(name, method, key, range(int(first), int(last or first) + 1))
        return cls(name, method, key, probability=float(when or 1))

    def matches(self, method: str, path: str) -> bool:
        return self.method in ("", method) and re.search(self.key, path) is not None


class FaultyStore:
    """Listens from `with` to its end at `url`. `faulty(…)` replaces the faults; `did` and `asked`
    count by fault and by method."""

    def __init__(
        self, upstream: str, faults: Iterable[Fault] = (), *, seed: int = 0, port: int = 0
    ) -> None:
        self.upstream = urllib.parse.urlsplit(upstream).netloc
        self.faults = list(faults)
        self.did: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.hang, self.trickle_seconds = threading.Event(), TRICKLE_SECONDS
        self._random, self._lock, self._seen = (
            random.Random(seed),
            threading.Lock(),
            Counter[Fault](),
        )
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.store = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FaultyStore:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()

    def faulty(self, *faults: Fault) -> None:
        """From now on these faults and no others, counted from their first."""
        with self._lock:
            self.faults = list(faults)
            self._seen.clear()

    def due(self, method: str, path: str) -> str | None:
        """The fault of this request, now counted as done."""
        with self._lock:
            self.asked[method] += 1
            for fault in self.faults:
                if fault.matches(method, path):
                    self._seen[fault] += 1
                    if (
                        fault.nth is None or self._seen[fault] in fault.nth
                    ) and self._random.random() < fault.probability:
                        self.did[fault.name] += 1
                        return fault.name
        return None

    def counts(self) -> dict[str, Mapping[str, int]]:
        with self._lock:
            return {"did": dict(self.did), "asked": dict(self.asked)}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    store: FaultyStore

    def handle_error(self, *_: object) -> None:
        """A client that went away is no news here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return None
        body = self._body()
        if self.path == "/-/counts":
            return self._answer(200, json.dumps(self.server.store.counts()).encode())
        url = urllib.parse.urlsplit(self.path)
        listing = self.command == "GET" and (
            "list-type=" in url.query or "/" not in url.path.strip("/")
        )
        fault = self.server.store.due(
            "LIST" if listing else self.command, urllib.parse.unquote(url.path)
        )
        if fault == "timeout":
            self.server.store.hang.wait(HANG_SECONDS)
        if fault in ("reset_before", "timeout"):
            return self._reset()
        if fault in ("503", "500_before"):
            return self._error(fault)
        try:
            status, headers, content = self._forward(body)
        except (OSError, http.client.HTTPException):
            return self._reset()
        self._pass_on(fault, status, headers, content)
        return None

    def _pass_on(
        self, fault: str | None, status: int, headers: list[tuple[str, str]], content: bytes
    ) -> None:
        if fault == "reset_after":
            return self._reset()
        if fault == "500_after":
            return self._error(fault)
        if fault == "slow" and not content:
            time.sleep(self.server.store.trickle_seconds)
        if fault == "flipped" and content:
            at = len(content) // 2
            content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        self._head(status, headers, len(content))
        if fault == "truncated":
            self.wfile.write(content[: len(content) // 2])
            return self._reset(abortive=False)
        if fault == "slow":
            return self._trickle(content)
        self.wfile.write(content)
        return None

    def _body(self) -> bytes:
        """The body as it was sent: of a length, or in chunks, which are put together (they are
        signed one by one, or not at all)."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(self.server.store.upstream, timeout=120)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP | {"expect"}:
                    upstream.putheader(name, value)
            if body or self.command in ("PUT", "POST"):
                upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders(body)
            answer = upstream.getresponse()
            self._length = answer.getheader("Content-Length")
            return answer.status, answer.getheaders(), answer.read()
        finally:
            upstream.close()

    def _head(self, status: int, headers: Iterable[tuple[str, str]], length: int) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        if status not in (204, 304):
            length = int(self._length or 0) if self.command == "HEAD" else length
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _answer(self, status: int, content: bytes) -> None:
        self._length = str(len(content))
        self._head(status, [("Content-Type", "application/xml")], len(content))
        if self.command != "HEAD":
            self.wfile.write(content)

    def _error(self, fault: str) -> None:
        status, code = _ERRORS[fault]
        self._answer(
            status,
            f"<Error><Code>{code}</Code><Message>injected: {fault}</Message></Error>".encode(),
        )

    def _trickle(self, content: bytes) -> None:
        pieces = 10
        step = -(-len(content) // pieces) or 1
        for start in range(0, len(content), step):
            time.sleep(self.server.store.trickle_seconds / pieces)
            self.wfile.write(content[start : start + step])

    def _reset(self, *, abortive: bool = True) -> None:
        """RST rather than FIN where `abortive`: what a killed process or a firewall does."""
        self.close_connection = True
        if abortive:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(OSError):
                self.connection.close()

    def log_message(self, *_: object) -> None:
        """Silent: the counts say what happened."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faulty_store")
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", nargs="*", type=Fault.parse, default=[])
    asked = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with FaultyStore(asked.upstream, asked.faults, seed=asked.seed, port=asked.port) as store:
        print(store.url, flush=True)
        ended.wait()
    print(json.dumps(store.counts()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
