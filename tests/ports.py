"""Ports of loopback for servers that are told theirs when they begin."""

from __future__ import annotations

import contextlib
import secrets
import socket
from pathlib import Path

# above those that Ray has for itself
_LEAST = 20_000
_GIVEN_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """Return a port at which nobody listens, of those that the system gives to no connection: of
    the others one may be a connection's before the server begins (seen: a Ray's control service)."""
    below = int(_GIVEN_OUT.read_text("ascii").split()[0])
    while True:
        port = _LEAST + secrets.randbelow(below - _LEAST)
        with contextlib.suppress(OSError), socket.socket() as tried:
            tried.bind(("127.0.0.1", port))
            return port
