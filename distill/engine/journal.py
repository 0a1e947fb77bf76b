"""What a worker was about to do when its process died.

An engine that builds a worker anew where its process died (out of memory, a segmentation fault in a
library) gives the tasks that may have been the reason out again, and a journal that outlives the
process. By what it wrote there before each step, the next process knows on which rows the one
before it died. Where there is no journal, no process died.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from distill.engine.protocol import Plain


class Journal(Protocol):
    """Entries by task, of all processes of one map."""

    def read(self, task: str) -> Plain | None:
        """Return the newest entry of a task; None where there is none."""

    def write(self, task: str, entry: Plain) -> None:
        """Let this be the newest entry of a task."""

    def delete(self, task: str) -> None:
        """Forget a task: it is over."""


_journal: ContextVar[Journal | None] = ContextVar("journal", default=None)


def current_journal() -> Journal | None:
    """Return the journal to write to; None where no process died."""
    return _journal.get()


@contextmanager
def journaling(journal: Journal) -> Iterator[None]:
    """Have the work within write to a journal."""
    token = _journal.set(journal)
    try:
        yield
    finally:
        _journal.reset(token)
