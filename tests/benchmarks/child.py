"""Functions of the benchmarks in processes of their own: a fresh interpreter, a session of its own,
chosen CPUs, a JSON answer.

What is measured never shares a process with what measures it, and nothing of one measurement (Ray's
daemons, caches, threads) is left for the next one: the session is killed when its answer is there.

    python -m tests.benchmarks.child MODULE:FUNCTION '{"cpus": [0], "told": {…}}'
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import rays
from tests.command import REPOSITORY, environment, kill_session
from tests.forkserver import Forked, fork_module

_ANSWER = "answer: "
_CLOCK_TICK = os.sysconf("SC_CLK_TCK")


class Child:
    """One running function. Its process id is its session's."""

    def __init__(self, function: Callable[..., Any], cpus: Sequence[int] = (), **told: Any) -> None:
        self.name = f"{_module(function)}:{function.__qualname__}"
        # it lives as long as the process that writes it
        self.output = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115
        told = {"cpus": list(cpus), "told": told, "output": self.output.name}
        begin = _forked if rays.shared() else _cold
        self.process = begin(self.name, json.dumps(told))
        atexit.register(self._end)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def answer(self, limit_seconds: float = 1_800) -> Any:
        """What the function returned. Raises RuntimeError with its output where it failed."""
        try:
            self.process.wait(limit_seconds)
        finally:
            kill_session(self.process.pid)
        said = self.said()
        if self.process.returncode or _ANSWER not in said:
            raise RuntimeError(
                f"{self.name} ended with {self.process.returncode}:\n{said[-4_000:]}"
            )
        return json.loads(said.rpartition(_ANSWER)[2].splitlines()[0])

    def _end(self) -> None:
        """Leave nothing behind where the benchmark ends early; a session whose head was waited for
        may be somebody else's by now."""
        if self.process.returncode is None:
            kill_session(self.process.pid)

    def said(self) -> str:
        """What it printed so far."""
        self.output.seek(0)
        return self.output.read()

    def kill_all(self) -> float:
        """SIGKILL of every process of the session at once, as of a machine that is taken away;
        nobody outlives it."""
        for pid in session_pids(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return self.kill_group()

    def kill_group(self) -> float:
        """SIGKILL of the driver's process group, then the wait for what outlives it (Ray's actors
        do); seconds of that wait."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        began = time.monotonic()
        while session_pids(self.process.pid) and time.monotonic() - began < 15:
            time.sleep(0.05)
        waited = time.monotonic() - began
        kill_session(self.process.pid)
        return waited


def _cold(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", __name__, *arguments],
        env=environment(PYTHONPATH=os.pathsep.join([str(REPOSITORY), *_python_path()])),
        stdin=subprocess.DEVNULL,
        cwd=REPOSITORY,
        start_new_session=True,
    )


def _forked(*arguments: str) -> Forked:
    """For what measures nothing: torch is imported already."""
    surroundings = environment(**rays.settings())
    return fork_module(__name__, *arguments, environment=surroundings, own_session=True)


def in_child(function: Callable[..., Any], cpus: Sequence[int] = (), **told: Any) -> Any:
    """`function(**told)` in a process of its own, kept on `cpus`; arguments and answer are plain
    values."""
    return Child(function, cpus, **told).answer()


def answer_and_leave(answer: Any) -> None:
    """For a function that cannot return: say its answer and end the process at once."""
    print(f"\n{_ANSWER}{json.dumps(answer)}", flush=True)
    os._exit(0)


def session_pids(session: int) -> list[int]:
    """Living processes of a session."""
    return [
        pid for pid, fields in _processes() if int(fields[3]) == session and fields[0] not in "ZX"
    ]


def session_cpu_seconds(session: int) -> float:
    """CPU seconds that a session's processes have used, those of ended children that were waited
    for included."""
    return (
        sum(sum(map(int, fields[11:15])) for _, fields in _processes() if int(fields[3]) == session)
        / _CLOCK_TICK
    )


def _python_path() -> list[str]:
    """Folders that this process was told: on a borrowed machine Ray itself may lie in one."""
    return [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]


def _module(function: Callable[..., Any]) -> str:
    """The module's importable name, also where the function's file is the program."""
    return (
        sys.modules["__main__"].__spec__.name
        if function.__module__ == "__main__"
        else function.__module__
    )


def _processes() -> list[tuple[int, list[str]]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.append(
                    (int(entry.name), (entry / "stat").read_text().rpartition(")")[2].split())
                )
            except OSError:
                continue
    return found


def _main() -> None:
    where, told = sys.argv[1], json.loads(sys.argv[2])
    with open(told["output"], "w") as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    if told["cpus"]:
        os.sched_setaffinity(0, told["cpus"])
    module, _, name = where.partition(":")
    answer_and_leave(getattr(importlib.import_module(module), name)(**told["told"]))


if __name__ == "__main__":
    _main()
