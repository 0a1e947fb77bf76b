"""`distill …` as a process whose lines and commits are timed, so that a silence is seen and not
guessed."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable

from tests.command import Ended, kill_session, start
from tests.waiting import LIMIT_SECONDS

_LOOK_SECONDS = 0.25


class Watched:
    """A running command. `commits` says how many there are; a new one is progress, as a line of
    output is."""

    def __init__(self, commits: Callable[[], int], *arguments: object, **environment: str) -> None:
        self._commits = commits
        self._moved = [time.monotonic()]
        self.is_stopped = False
        """By us: it cannot say anything."""
        self._lines: list[str] = []
        self.process = start(*arguments, PYTHONUNBUFFERED="1", **environment)
        self._threads = [
            threading.Thread(target=each, daemon=True) for each in (self._read, self._look)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def output(self) -> str:
        """All that it has said."""
        return "".join(self._lines)

    @property
    def longest_silence(self) -> float:
        """Seconds between two signs of life at the most."""
        moved = [] if self.is_stopped else sorted(self._moved)
        return max((later - sooner for sooner, later in itertools.pairwise(moved)), default=0.0)

    def wait(self, is_so: Callable[[], bool], what: str) -> bool:
        """Wait for something; False where the process ended before. Raises TimeoutError."""
        until = time.monotonic() + LIMIT_SECONDS
        while not is_so():
            if self.process.poll() is not None:
                return is_so()
            if time.monotonic() > until:
                raise TimeoutError(
                    f"{what} did not come in {LIMIT_SECONDS} s: {self.output[-2000:]}"
                )
            time.sleep(0.02)
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the driver alone."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def kill_group(self) -> None:
        """SIGKILL of the driver's process group: its actors outlive it a while."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_everything(self) -> None:
        """SIGKILL of the session, actors and all: a power cut."""
        kill_session(self.process.pid)
        self.process.wait()

    def end(self, limit_seconds: float = LIMIT_SECONDS) -> Ended:
        """Let it end by itself. Raises TimeoutError after killing it."""
        try:
            self.process.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            self.kill_everything()
            raise TimeoutError(
                f"it did not end in {limit_seconds} s: {self.output[-2000:]}"
            ) from None
        self._moved.append(time.monotonic())
        self._threads[0].join(5)  # a zombie may hold the pipe open
        return Ended(self.process.returncode, self.output)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)
            if self.process.poll() is None:
                self._moved.append(time.monotonic())

    def _look(self) -> None:
        seen = -1
        while self.process.poll() is None:
            with contextlib.suppress(Exception):  # a store that is killed on purpose
                now = self._commits()
                if now != seen:
                    self._moved.append(time.monotonic())
                seen = now
            time.sleep(_LOOK_SECONDS)
