"""The labeler of a chaos run: tells its calls to a file of FOLDER and obeys others there; FOLDER
and SECONDS are filled in for each run.

Who asks it for another reason than labelling names another file (CHAOS_CALLS).
"""

import os
import signal
import time

FOLDER = "{FOLDER}"
SECONDS = float("{SECONDS}")


def tell(name, line):
    file = os.open(os.path.join(FOLDER, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, (line + "\n").encode())
    os.close(file)


def is_asked(name):
    """Whether the file was there; it is gone now, so that one process alone is asked."""
    try:
        os.unlink(os.path.join(FOLDER, name))
    except FileNotFoundError:
        return False
    return True


class Labeler:
    revision = "1"
    classes = ("a", "b", "c", "d", "e")

    def __init__(self):
        tell("actors", str(os.getpid()))
        if os.path.exists(os.path.join(FOLDER, "failpoint")):
            with open(os.path.join(FOLDER, "failpoint")) as file:
                os.environ["DISTILL_FAILPOINT"] = file.read()
        if is_asked("raise-at-start"):
            raise RuntimeError("this start fails once")
        if is_asked("die-at-start"):
            os.kill(os.getpid(), signal.SIGKILL)

    def label(self, features):
        import numpy as np

        tell(os.environ.get("CHAOS_CALLS", "calls"), str(os.getpid()))
        time.sleep(SECONDS)
        answer = np.stack([(number + 1) * features[:, number % 4] for number in range(5)], axis=1)
        return np.where(features[:, :1] > 2.5, np.float32("nan"), answer)
