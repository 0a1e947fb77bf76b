"""Whether Ray's head node answers. While it does not, workers finish what they have, and Ray itself
ends this process when its patience is over: with exit code 1, and without a word where its own log
is off. So a word is said before.

A head node that comes back with what it knew (`RAY_gcs_storage=rocksdb`, or Redis) is found again
by all, and the run goes on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from distill.core.events import tell

log = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0
_SILENT_LOOK_SECONDS = 0.5
_CONNECT_SECONDS = 2.0
_PATIENCE_VARIABLE = "RAY_gcs_rpc_server_reconnect_timeout_s"
_USUAL_PATIENCE = "60"


class Head:
    """Where the head node of this process's Ray is, and since when it is silent."""

    def __init__(self, ray: Any) -> None:
        self.address: str = ray.get_runtime_context().gcs_address
        self.silent_since: float | None = None

    @property
    def answers(self) -> bool:
        """Whether it listened at the last look."""
        return self.silent_since is None

    def look(self) -> None:
        """Look whether somebody listens there; tell when that changes."""
        # its port and not a request: those block for as long as it is away
        listens = _listens(self.address)
        if listens and self.silent_since is not None:
            seconds = time.monotonic() - self.silent_since
            tell("head_back", seconds=seconds)
            log.info("the head node of Ray answers again, after %.0f s; the run goes on", seconds)
            self.silent_since = None
        elif not listens and self.silent_since is None:
            self.silent_since = time.monotonic()
            tell("head_silent", worker=self.address)
            log.warning(
                "the head node of Ray (%s) does not answer. What is in work is finished, and then"
                " waits for it. If it stays away for %s s, Ray ends this command with exit code 1:"
                " what was committed stays, and the same command, on a Ray that answers, goes on"
                " from there.",
                self.address,
                os.environ.get(_PATIENCE_VARIABLE, _USUAL_PATIENCE),
            )


@contextlib.contextmanager
def watched_head(ray: Any) -> Iterator[Head]:
    """Look every few seconds for as long as the block runs."""
    head = Head(ray)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_SECONDS if head.answers else _SILENT_LOOK_SECONDS):
            head.look()

    # of its own: whoever asks Ray something is held until the head is back
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield head
    finally:
        over.set()
        thread.join()


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    # an address of IPv6 stands in brackets before its port
    host = host.strip("[]")
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
