"""Named points in the code where a test may stop a process, so that faults are injected by name and
never by sleep.

`DISTILL_FAILPOINT="label.after_data:3:/tmp/reached"` makes the process's third arrival at that
point write its pid to the file and wait there until the file is gone (to be killed, or stopped and
let go on).
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

_POLL_SECONDS = 0.01
_arrivals = itertools.count(1)


def reach(name: str) -> None:
    """Arrive at the failpoint `name`: wait here where a test says so."""
    setting = os.environ.get("DISTILL_FAILPOINT")
    # all that an arrival costs outside of tests: one look-up in a dictionary
    if setting is None:
        return
    failpoint, number, marker = setting.split(":", 2)
    if failpoint != name or next(_arrivals) != int(number):
        return
    file = Path(marker)
    pid = str(os.getpid())
    file.write_text(pid, "utf-8")
    while file.exists():
        time.sleep(_POLL_SECONDS)
