"""A start of Ray on this machine that is tried again where the machine was too busy for it.

`ray.init` gives a raylet 30 s to come, and a raylet its agent 15; neither can be set (Ray 2.60),
and where other work has the CPUs both take longer. The start is repeated then, as a person would
who reads that the node timed out. What the former one left is ended first: it would hold memory for
as long as the command runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

log = logging.getLogger(__name__)

_TRIES = 3
_TOO_SLOW = "timed out during startup"
_END_SECONDS = 5


def start_patiently(start: Callable[[], object]) -> None:
    """Start a Ray by `start`; where it came too late, start another, three in all.

    Raises what the last one raised, or any that failed for another reason.
    """
    for left in reversed(range(_TRIES)):
        before = _children()
        try:
            start()
        except Exception as error:  # a plain one of Ray's
            if _TOO_SLOW not in str(error) or not left:
                raise
            _end(_children() - before)
        else:
            return
        log.warning("Ray did not come in time: this machine is busy. Starting another one.")


def _children() -> set[Any]:
    """Processes that this one started."""
    import psutil  # Ray brings it, and it is found once Ray is imported

    return set(psutil.Process().children())


def _end(processes: set[Any]) -> None:
    """End processes and what they started, and wait until they have."""
    import psutil

    ending = list(processes)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            ending += process.children(recursive=True)
    for process in ending:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(ending, _END_SECONDS)
