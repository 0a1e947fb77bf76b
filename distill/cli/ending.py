"""How the process of a command ends: with an exit code, whatever is still at work in it.

0    done
1    failed, after work began
2    refused, before any work
3    done, but beyond a limit that the job sets; or stopped where its budget is spent
130  stopped by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP: 128 + the number of the signal
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

STOPPED = 128
"""And the number of the signal: the exit code of a command that was stopped."""


def run_to_end(command: Callable[[], object]) -> int:
    """Run a command, and return its exit code."""
    try:
        command()
    except SystemExit as error:
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
            return 1
        return error.code or 0
    except KeyboardInterrupt:
        return STOPPED + signal.SIGINT
    except BrokenPipeError:  # nobody reads any more, as of `distill … | head`
        # else Python's own flush at the end meets the broken pipe again, and prints a traceback
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return STOPPED + signal.SIGPIPE
    return 0


def end_process(code: int) -> None:
    """End this process with an exit code. It does not wait for threads or processes that somebody
    has left behind."""
    here = threading.current_thread()
    threads = [each for each in threading.enumerate() if each is not here and not each.daemon]
    children = _children()
    if not threads and not children:
        sys.exit(code)
    # what a labeler has left behind (a client's keep-alive, a pool) keeps a Python process for ever
    for child in children:
        child.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _children() -> list[Any]:
    """Return the living processes that were begun by `multiprocessing` here."""
    if "multiprocessing" not in sys.modules:
        return []
    multiprocessing: Any = sys.modules["multiprocessing"]
    return list(multiprocessing.active_children())
