"""Named places where a test may stop a process, so that faults are injected by name and never by
sleep.

`DISTILL_FAILPOINT="label.after_data:3:/tmp/reached"` makes the third process-wide arrival at that
place write its pid to the file and wait there until the file is gone (to be killed, or stopped and
let go on). Without the variable an arrival costs one dictionary look-up.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

_LOOK_SECONDS = 0.01
_arrivals = itertools.count(1)


def reach(name: str) -> None:
    """Say that the process has come to the place `name`."""
    asked = os.environ.get("DISTILL_FAILPOINT")
    if asked is None:
        return
    place, number, marker = asked.split(":", 2)
    if place == name and next(_arrivals) == int(number):
        Path(marker).write_text(str(os.getpid()), "utf-8")
        while Path(marker).exists():
            time.sleep(_LOOK_SECONDS)
