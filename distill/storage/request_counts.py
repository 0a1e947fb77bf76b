"""How often this process asked its stores, so that a test or a benchmark can hold a claim about
requests against what happened.

Counts only grow; whoever measures subtracts: `requests() - before`. On S3 every request that went
out counts, also one that is tried again, and a LIST once for each page of 1,000 keys; a HEAD is a
`get`. A disk counts the same operations, so that a claim is tested without a server.
"""

from __future__ import annotations

import threading
from dataclasses import astuple, dataclass
from operator import sub


@dataclass(frozen=True)
class RequestCounts:
    """Requests by kind, and the bytes of objects that they carried."""

    list: int = 0
    get: int = 0
    put: int = 0
    delete: int = 0
    bytes_read: int = 0
    bytes_written: int = 0

    def __sub__(self, before: RequestCounts) -> RequestCounts:
        return RequestCounts(*map(sub, astuple(self), astuple(before)))


_counts = dict.fromkeys(RequestCounts.__dataclass_fields__, 0)
_lock = threading.Lock()


def requests() -> RequestCounts:
    """Return what this process asked of all stores until now."""
    with _lock:
        return RequestCounts(**_counts)


def count(kind: str, amount: int = 1) -> None:
    """Add to the field `kind` of the process's counts."""
    with _lock:
        _counts[kind] += amount
