"""A loss of the user's own that tells which rows every training worker sees, wherever it runs, and
dies or waits where it is asked to.

Copied beside a job. Before a step takes effect it appends a line to `seen/PID` in its folder: the
step, this worker's lanes and their rows. A file `die/RANK.STEP` is removed and makes that rank
SIGKILL itself at that step; while a file `slow` is there, every step takes a while longer, and step
N is not done while `wait_at_N` is. It finds step and lanes in the frame of `LaneGradients.backward`,
which calls it: the product has no hook for it.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
SLOW_SECONDS = 0.25
TOLD = [None]


def watched(student, taught):
    frame = sys._getframe()
    while frame and not (frame.f_code.co_name == "backward" and "sums" in frame.f_locals):
        frame = frame.f_back
    if (
        frame and frame.f_locals["sums"] is not TOLD[-1]
    ):  # the first lane of a step that has rows; nobody's where the loss is tried
        TOLD[:] = [frame.f_locals["sums"]]
        tell(**{name: frame.f_locals[name] for name in ("self", "step", "batches")})
    return ((student - taught) ** 2).mean(dim=1)


def tell(self, step, batches):
    context = self.context
    death = FOLDER / "die" / f"{context.rank}.{step}"
    if death.exists():
        death.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    rows = batches[0]["row"].tolist()
    each = len(rows) // len(self.lanes)
    lanes = {lane: rows[place * each : (place + 1) * each] for place, lane in enumerate(self.lanes)}
    line = {
        "at": time.time(),
        "step": step,
        "rank": context.rank,
        "workers": context.workers,
        "lanes": lanes,
    }
    with (FOLDER / "seen" / str(os.getpid())).open("a") as file:
        file.write(json.dumps(line) + "\n")
    if (FOLDER / "slow").exists():
        time.sleep(SLOW_SECONDS)
    while (FOLDER / f"wait_at_{step}").exists():
        time.sleep(0.1)
