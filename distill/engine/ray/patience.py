"""A start of Ray on this machine that is tried again where the machine was too busy for it.

`ray.init` gives a raylet 30 s to come, and a raylet its agent 15; neither can be set (Ray 2.60),
and where other work has the CPUs both take longer. The start is repeated then, as a person would
who reads that the node timed out. What the former one left is ended first: it would hold memory for
as long as the command runs. (How long Ray waits for its head service can be set: `session`.)
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

log = logging.getLogger(__name__)

TOO_SLOW = "timed out during startup"
_TRIES = 3
_END_SECONDS = 5


def start_patiently(start: Callable[[], object]) -> None:
    """Start a Ray by `start`; where it came too late, start another, three in all.

    Raises what the last one raised, or any that failed for another reason.
    """
    for number in range(1, _TRIES + 1):
        before = _children()
        try:
            start()
            return
        except Exception as error:  # a plain one of Ray's
            _end(_children() - before)
            if TOO_SLOW not in str(error) or number == _TRIES:
                raise
        log.warning("Ray did not come in time: this machine is busy. Starting another one.")


def _children() -> set[Any]:
    """Ray's processes that this one started."""
    import psutil  # Ray brings it, and it is found once Ray is imported

    found = set()
    for process in psutil.Process().children():
        with suppress(psutil.Error):
            if any("/ray/" in word for word in process.cmdline()):
                found.add(process)
    return found


def _end(processes: set[Any]) -> None:
    """End processes and what they started, and wait until they have. Ray's own end by themselves
    where whoever started them is gone."""
    import psutil

    ending = list(processes)
    for process in processes:
        with suppress(psutil.Error):
            process.suspend()  # starts no more
            ending += process.children(recursive=True)
    for process in ending:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(ending, _END_SECONDS)
