"""The command `distill` as a person runs it: a process of its own, in a session of its own.

It is forked from a process that has torch and distill imported (`tests.forkserver`), which is 6
CPU-seconds less; `cold` ones are interpreters that are started for it, as a shell does.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.forkserver import REPOSITORY, Forked, fork_module
from tests.summary import current_file, ray_folder
from tests.waiting import LIMIT_SECONDS

NOT_NICE = {"RAY_worker_niceness": "0"}
"""Ray's workers are at 15 by default, where tests that compute beside them leave them a thirtieth
of a core."""


@dataclass
class Ended:
    """What a command printed, and its exit code."""

    code: int
    output: str


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what would lead Ray elsewhere, with a Ray folder of our
    own (its path must be short)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, **NOT_NICE, "RAY_TMPDIR": str(_ray_folder(current_file())), **more}


@functools.cache
def _ray_folder(_file: str) -> Path:
    return ray_folder()


def start(*arguments: object, **more: str) -> Forked:
    """Begin `distill …`, forked."""
    return fork_module("distill", *arguments, environment=environment(**more), own_session=True)


def start_cold(*arguments: object, **more: str) -> subprocess.Popen[str]:
    """Begin `distill …` as an interpreter of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "distill", *map(str, arguments)],
        env=environment(**more),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def distill(
    *arguments: object, limit_seconds: float = LIMIT_SECONDS, cold: bool = False, **more: str
) -> Ended:
    """Run `distill …` to its end."""
    process = (start_cold if cold else start)(*arguments, **more)
    try:
        output, _ = process.communicate(timeout=limit_seconds)
    except subprocess.TimeoutExpired:
        kill_session(process.pid)
        raise
    assert process.returncode is not None
    return Ended(process.returncode, output)


def start_code(code: str, *arguments: object) -> Forked:
    """Begin `python -c CODE ARGUMENTS`, forked."""
    return fork_module("tests.snippet", code, *arguments, environment=environment())


_APART = """
import os, runpy, sys
errors = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.dup2(errors, 2)
sys.argv[0] = "distill"
runpy.run_module("distill", run_name="__main__")
"""


def distill_apart(folder: Path, *arguments: object) -> tuple[Ended, str]:
    """Run `distill …` to its end, its standard error in a file of `folder`. Returns what stood
    there beside the rest."""
    errors = folder / "errors"
    process = start_code(_APART, errors, *arguments)
    output, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode is not None
    return Ended(process.returncode, output), errors.read_text("utf-8")


def run_code(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in an interpreter of its own, to its end."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )


def kill_session(session: int) -> None:
    """SIGKILL every process of a session that we started, as a power cut would."""
    while left := processes(session):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def processes(session: int) -> list[int]:
    """Living processes of a session."""
    return [pid for pid in _all_processes() if is_alive(pid, session)]


def processes_knowing(text: str) -> list[int]:
    """Processes with a text in their environment: whatever a command started, in whichever
    session."""
    found = []
    for pid in _all_processes():
        with contextlib.suppress(OSError):
            if text.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
    return found


def is_alive(pid: int, session: int | None = None) -> bool:
    """Return whether a process, of that session if one is given, is there and has not ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in "ZX" and session in (None, int(fields[3]))


def _all_processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
