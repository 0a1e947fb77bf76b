"""Ctrl-C while labelling: fragments in work are committed, and no other is begun. And a budget that
is spent while an engine waits for nodes: it waits no longer.

The process edge's signal handler calls `finish_and_stop`. An engine's `map` runs inside `stoppable`
and looks at `stop_requested` before it begins another task. Passes and trainings are not stopped
within, but run inside `waiting`: where none of their workers is there, `gives_up` ends the wait.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# state of the module, since a signal reaches a process and not an engine
_in_work = threading.Event()
_requested = threading.Event()
_may_wait = threading.Event()
_gives_up = threading.Event()


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


def wait_no_longer() -> bool:
    """Have a pass or training end whose workers are not there; return False where none is begun."""
    if not _may_wait.is_set():
        return False
    _gives_up.set()
    return True


def gives_up() -> bool:
    """Return whether workers that are not there are not to be waited for."""
    return _gives_up.is_set()


@contextmanager
def waiting() -> Iterator[None]:
    """Accept `wait_no_longer` inside the block, which then ends by KeyboardInterrupt."""
    _gives_up.clear()
    _may_wait.set()
    try:
        yield
    finally:
        _may_wait.clear()
