"""A map that is stopped while no actor is there: nothing is in work, and none is waited for.

Actors hear of a stop as they work. Where nodes never come there is none to hear it, and Ray Data
waits for ever. So its own loop, in a thread of the driver, looks here at each step.
"""

from __future__ import annotations

import threading
from typing import Any

_abandoned = threading.Event()
"""State of the module: Ray Data makes `Abandon` by itself, and sends it by name to its workers."""


class AbandonedError(Exception):
    """Nobody waits for the map's results any more."""


class Abandon:
    """What Ray Data calls (its `ExecutionCallback`) in the course of an execution."""

    def before_execution_starts(self, executor: Any) -> None:
        """Nothing is to be done."""

    def on_execution_step(self, executor: Any) -> None:  # noqa: ARG002  Ray's signature
        """End the execution where it is abandoned. Raises AbandonedError."""
        if _abandoned.is_set():
            raise AbandonedError

    def after_execution_succeeds(self, executor: Any) -> None:
        """Nothing is to be done."""

    def after_execution_fails(self, executor: Any, error: Exception) -> None:
        """Nothing is to be done."""


def let_abandon(source: Any) -> None:
    """Let the execution of a dataset, and of those made from it, be ended by `abandon`."""
    _abandoned.clear()
    source.context.custom_execution_callback_classes = [Abandon]


def abandon() -> None:
    """End the execution at its next step, some tenths of a second from now."""
    _abandoned.set()
