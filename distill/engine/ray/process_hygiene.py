"""What keeps an actor's process from hanging, and from staying behind: processes that a labeler
forks can be ended, and the actor ends with its raylet."""

from __future__ import annotations

import os
import signal
import threading
import time

_PARENT_SECONDS = 2.0
_of_thread = threading.local()
"""The signals that were held back before a fork."""


def let_forks_be_ended() -> None:
    """Have SIGTERM end the processes that are forked from this one, from their first moment, and
    let them end with this one."""
    # Ray's worker handles SIGTERM in Python. A process that was just forked has that handler too,
    # and drops what came before it runs (`PyOS_AfterFork_Child`): a `multiprocessing.Pool` that is
    # closed at once then waits for ever for a process that it has ended (seen after some ten pools).
    # So the signal is held back until the new process has no handler.
    os.register_at_fork(
        before=_hold_back, after_in_child=_begin_child, after_in_parent=_let_through
    )


def end_with_parent() -> None:
    """End this process when the one that began it has ended, as an actor's raylet."""
    # threads that a labeler left behind would keep it, and its GPU's memory, for ever (seen: twenty
    # minutes after a driver was killed); processes of a pool would wait for work
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _hold_back() -> None:
    _of_thread.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _of_thread.mask)


def _begin_child() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _let_through()
    end_with_parent()
