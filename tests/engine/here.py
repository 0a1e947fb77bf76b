"""Ray in the process of pytest: started once, by the first test that asks for it, and shared."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from distill.engine.ray.session import connect, disconnect, start_ray_by
from tests.command import NOT_NICE
from tests.ray_workers import forked_workers
from tests.raylets import starting_alone
from tests.summary import forget_ray_folder, ray_folder

CPUS = 4
"""Logical ones, whatever the machine has: two teams of two training workers find room."""
_FREE_SECONDS = 120


@dataclass(frozen=True)
class Joining:
    """Options and environment of a command that works on a Ray which is there."""

    options: tuple[str, ...]
    environment: dict[str, str]


class SharedRay:
    """A Ray of `CPUS` logical CPUs, which this process starts when it is first asked for."""

    def __init__(self) -> None:
        self._end = ExitStack()
        self._runs = False

    def start(self) -> Any:
        """Return the module `ray`, connected."""
        if not self._runs:
            self._end.enter_context(_ray_here())
            self._runs = True
        return sys.modules["ray"]

    def joining(self) -> Joining:
        """Start it, and return by what a command joins it."""
        address = self.start().get_runtime_context().gcs_address
        settings = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
        return Joining(("--ray", address), settings)

    def end(self) -> None:
        """End it; the next who asks for one gets another."""
        self._end.close()
        self._runs = False

    def give_back(self) -> None:
        """Wait until nothing holds a CPU, so that no test meets what another one left at work.

        Raises TimeoutError, and ends this Ray, where that takes too long.
        """
        try:
            require_free(sys.modules["ray"])
        except TimeoutError:
            self.end()
            raise


@contextmanager
def _ray_here() -> Iterator[None]:
    folder = ray_folder()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            patch.delenv(name)
        for name, value in {**NOT_NICE, "RAY_TMPDIR": str(folder)}.items():
            patch.setenv(name, value)
        with pytest.MonkeyPatch.context() as cores:
            cores.setattr("os.cpu_count", lambda: CPUS)
            with starting_alone(), forked_workers(folder):
                connect(None)
        yield
        disconnect()
    forget_ray_folder(folder)


def require_free(ray: Any) -> None:
    """Wait until nothing holds a CPU of Ray's. Raises TimeoutError."""
    until = time.monotonic() + _FREE_SECONDS
    while (free := ray.available_resources().get("CPU", 0)) < CPUS:
        if time.monotonic() > until:
            raise TimeoutError(f"{CPUS - free:g} of {CPUS} CPUs are still taken: who holds them?")
        time.sleep(0.05)


@contextmanager
def without_ray() -> Iterator[None]:
    """As if this process had no Ray, whichever test has started one; asking for one fails."""

    def refuse() -> None:
        raise AssertionError("asked for a Ray")

    with pytest.MonkeyPatch.context() as patch:
        if "ray" in sys.modules:
            patch.setattr(sys.modules["ray"], "is_initialized", lambda: False)
        start_ray_by(refuse)
        try:
            yield
        finally:
            start_ray_by(None)
