"""Ctrl-C while labelling: fragments in work are committed, and no other is begun.

The process edge's signal handler calls `finish_and_stop`. An engine's `map` runs inside `stoppable`
and looks at `stop_requested` before it begins another task.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# state of the module, since a signal reaches a process and not an engine
_in_work = threading.Event()
_requested = threading.Event()


def finish_and_stop() -> bool:
    """Let fragments in work be committed and begin no other; return False where none is in work."""
    if not _in_work.is_set():
        return False
    _requested.set()
    return True


def stop_requested() -> bool:
    """Return whether no other fragment is to begin."""
    return _requested.is_set()


@contextmanager
def stoppable() -> Iterator[None]:
    """Accept `finish_and_stop` inside the block, which then ends by KeyboardInterrupt."""
    _requested.clear()
    _in_work.set()
    try:
        yield
    finally:
        _in_work.clear()
    # looked at after the flag is down: a signal from here on raises KeyboardInterrupt itself
    if _requested.is_set():
        raise KeyboardInterrupt
