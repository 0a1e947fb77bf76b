"""A loss of the user's own that tells which processes train, one of which kills itself where that is asked for; and one that is a mistake.

Copied beside a job. Each process leaves `seen/PID`. The first to come to its `DIES_AT`th row-wise loss while there is a file `die` takes the file away
and SIGKILLs itself.
"""

import itertools
import os
import signal
from pathlib import Path

FOLDER = Path(__file__).parent
DIES_AT = 60
TRIED = 2
"""Rows on which the driver tries a loss."""
calls = itertools.count(1)


def mortal(student, taught):
    if len(student) <= TRIED:
        return ((student - taught) ** 2).mean(dim=1)
    (FOLDER / "seen" / str(os.getpid())).touch()
    if next(calls) == DIES_AT and (FOLDER / "die").exists():
        (FOLDER / "die").rename(FOLDER / "died")
        os.kill(os.getpid(), signal.SIGKILL)
    return ((student - taught) ** 2).mean(dim=1)


def wrong(student, taught):
    if len(student) > TRIED:
        raise KeyError("pixels")
    return mortal(student, taught)
