"""Whether Ray's head node answers. While it does not, workers go on with what they have, and Ray
itself ends this process when its patience is over: with exit code 1, and without a word where its
own log is off. So a word is said before.

A head node that comes back with what it knew (`RAY_gcs_storage=rocksdb`, or Redis) is found again
by all, and the run goes on.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import Any

from distill.core.events import tell

log = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0
_SILENT_LOOK_SECONDS = 0.5
_CONNECT_SECONDS = 2.0
_PATIENCE_VARIABLE = "RAY_gcs_rpc_server_reconnect_timeout_s"
_USUAL_PATIENCE = "60"


class Head:
    """Looks every few seconds whether somebody listens where the head node was."""

    def __init__(self, ray: Any) -> None:
        self.address: str = ray.get_runtime_context().gcs_address
        self.silent_since: float | None = None
        self._looked = time.monotonic()

    def answers(self) -> bool:
        """Return whether it listened at the last look; tell when that changes."""
        now = time.monotonic()
        pause = _LOOK_SECONDS if self.silent_since is None else _SILENT_LOOK_SECONDS
        if now - self._looked < pause:
            return self.silent_since is None
        self._looked = now
        # its port and not a request: those block for as long as it is away
        listens = _listens(self.address)
        if listens and self.silent_since is not None:
            seconds = now - self.silent_since
            tell("head_back", seconds=seconds)
            log.info("the head node of Ray answers again, after %.0f s; the run goes on", seconds)
            self.silent_since = None
        elif not listens and self.silent_since is None:
            self.silent_since = now
            tell("head_silent", worker=self.address)
            log.warning(
                "the head node of Ray (%s) does not answer. Workers go on with what they have. If it"
                " stays away for %s s, Ray ends this command with exit code 1: what was committed"
                " stays, and the same command, on a Ray that answers, goes on from there.",
                self.address,
                os.environ.get(_PATIENCE_VARIABLE, _USUAL_PATIENCE),
            )
        return listens


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
