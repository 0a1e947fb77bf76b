"""What labelling one fragment took: the plain numbers in a commit's `work`, and what one worker's
process says of itself.

    seconds          of one worker: its share of the time in which the worker had it in work
    startup_seconds  of what is done once a worker, as to build it; in the first commit that it made
    reads, writes    requests to stores: GET and HEAD; PUT and LIST
    memory_bytes     the most that the worker's process held until then

Seconds of all fragments of a worker add up to the time in which it was at work, however many it had
in work at once. So hours of a labelling are these seconds, summed, by the number of workers. A
commit of an older distill has none of them.
"""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path


def peak_memory() -> int:
    """Return the most bytes that this process held at any time."""
    # not `ru_maxrss` first: a process begins with that of the one which started it
    with contextlib.suppress(OSError, ValueError, IndexError):
        path = Path("/proc/self/status")
        status = path.read_text("utf-8")
        peak = status.split("VmHWM:")[1].split()[0]
        return int(peak) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
