"""How much memory this machine has for a process."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_OF_A_CONTAINER = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def machine_memory() -> int:
    """Return the bytes of this machine, or of the container that this process is in."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _OF_A_CONTAINER:
        with contextlib.suppress(OSError, ValueError):  # no such file; "max"
            limits.append(int(Path(path).read_text()))
    return min(limits)
