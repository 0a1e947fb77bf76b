"""How tests wait. A bound ends a hang and proves nothing: a machine under load 20 keeps it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

LIMIT_SECONDS = 900.0
Found = TypeVar("Found")


def wait_until(is_so: Callable[[], Found], process: Any = None) -> Found:
    """Return what `is_so` returns as soon as it is something; `process`, if one is given, must not
    end before."""
    until = time.monotonic() + LIMIT_SECONDS
    while True:
        began = time.monotonic()
        if found := is_so():
            return found
        assert process is None or process.poll() is None, str(process.communicate()[0])[-3_000:]
        assert time.monotonic() < until, "it never came to that"
        # to look takes at most a third of a core from what is waited for
        time.sleep(max(0.02, 2 * (time.monotonic() - began)))


def slowness() -> float:
    """Return how many times longer than on a machine of its own a test may take now: for claims
    that are about seconds."""
    # the average of a minute rises long after others have come, so those that run now count too
    minute, _, _, threads, _ = Path("/proc/loadavg").read_text("ascii").split()
    running, _, _ = threads.partition("/")
    load = max(float(minute), int(running) - 1)
    return max(1.0, 2 * load / (os.cpu_count() or 1))
