"""A loss of the user's own that tells which processes train, one of which kills itself where that
is asked for; and one that is a mistake.

Copied beside a job. Each process leaves `seen/PID`. Where there was a file `die` when a process
began, the first of them to come to its `DIES_AT`th row-wise loss takes the file away, waits until
all `TRAIN` are seen, and SIGKILLs itself; the others go slowly from there, so that they are still
at work when they are stopped because of it.
"""

import itertools
import os
import signal
import time
from pathlib import Path

FOLDER = Path(__file__).parent
DIES = (FOLDER / "die").exists()
DIES_AT = 30
TRAIN = 4
WAITS_SECONDS = 900
TRIED = 2
"""Rows on which the driver tries a loss."""
calls = itertools.count(1)


def mortal(student, taught):
    if len(student) <= TRIED:
        return ((student - taught) ** 2).mean(dim=1)
    (FOLDER / "seen" / str(os.getpid())).touch()
    if DIES and next(calls) >= DIES_AT:
        die_or_wait()
    return ((student - taught) ** 2).mean(dim=1)


def die_or_wait():
    try:
        (FOLDER / "die").rename(FOLDER / "dying")
    except FileNotFoundError:
        time.sleep(0.1)
        return
    until = time.monotonic() + WAITS_SECONDS
    while (seen := len(list((FOLDER / "seen").iterdir()))) < TRAIN:
        assert time.monotonic() < until, f"{seen} processes train, {TRAIN} are due"
        time.sleep(0.01)
    (FOLDER / "dying").rename(FOLDER / "died")
    os.kill(os.getpid(), signal.SIGKILL)


def wrong(student, taught):
    if len(student) > TRIED:
        raise KeyError("pixels")
    return mortal(student, taught)
