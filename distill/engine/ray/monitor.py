"""What training workers say while `fit` blocks, which tells nothing itself: an actor keeps it, and
a thread of the driver shows it.

Workers say how far each part of the work is, never how much they added: what is done again after a
restart moves the bar back, and is not counted twice, whichever team does it then. The bar shows the
sum over the parts. The ear also decides when lost workers are given up: after `LOST_WORKERS` groups
in a row that came no further than those before, so that a training which lives through many lost
nodes is not ended by their number.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from distill.core.progress import Bar
from distill.engine.ray.resources import look_at_nodes

LOST_WORKERS = 8
"""Groups lost in a row, none of which came further, before training is given up."""
_MOST_SAID = 1_500
_POLL_SECONDS = 0.5
_SILENT_SECONDS = 5.0
_LOOK_SECONDS = 2.0

log = logging.getLogger(__name__)


@dataclass
class TrainingProgress:
    """Where the training is, as far as it was heard."""

    done: float = 0.0
    note: str = ""
    groups: int = 0
    """Begun so far."""
    workers: int = 0
    """Of the group at work; 0 where none is."""
    failed: bool = False
    """For good: nothing is waited for any more."""


class Monitor:
    """Of one training; an actor's class."""

    def __init__(self) -> None:
        self.heard, self.failure = TrainingProgress(), ""
        self.parts: dict[str, float] = {}
        self.given_up: dict[str, str] = {}
        self.furthest, self.fruitless = 0.0, 0

    def begin(self, rank: int, workers: int) -> str:
        """A worker of a group starts. Returns what the training failed of, if it did."""
        if rank == 0:
            self.heard.groups += 1
            self.heard.workers = workers
        return self.failure

    def hear(self, part: str, done: float, note: str) -> None:
        """So much of one part of the work is done."""
        self.parts[part] = done
        self.heard.done, self.heard.note = sum(self.parts.values()), note
        if self.heard.done > self.furthest:
            self.furthest, self.fruitless = self.heard.done, 0

    def give_up(self, part: str, reason: str) -> None:
        """A part cannot be done. A group that is started again finds so once more, which is no
        news."""
        self.given_up[part] = reason

    def fail(self, trace: str) -> None:
        """The work itself raised: no restart helps."""
        self.failure = self.failure or trace
        self.heard.failed = True

    def lose(self, reason: str) -> str:
        """A group is lost. Returns why the training shall end, "" where it goes on."""
        self.heard.workers = 0
        self.fruitless += 1
        if self.fruitless > LOST_WORKERS:
            self.fail(
                f"training lost workers {self.fruitless} times without coming further and was given"
                f" up: {reason[-_MOST_SAID:]}. Run the same command again; it goes on from the"
                " newest checkpoint."
            )
        return self.failure

    def take(self) -> TrainingProgress:
        """What was heard so far."""
        return self.heard

    def first_failure(self) -> str:
        """What the training failed of; "" where it did not."""
        return self.failure

    def all_given_up(self) -> list[str]:
        """What was, each with its reason."""
        return [f"{part}: {reason}" for part, reason in self.given_up.items()]


@contextlib.contextmanager
def monitored(ray: Any, bar: Bar, *, elastic: bool = False) -> Iterator[Any]:
    """An ear, and a thread that shows on `bar` what it hears. While an elastic group is lost, it
    has the nodes looked at more often."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    beside = NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )  # no lost node takes it
    ear = ray.remote(num_cpus=0, scheduling_strategy=beside)(Monitor).remote()
    over, shown = threading.Event(), _Shown(bar)

    def poll() -> None:
        looked = 0.0
        while not over.wait(_POLL_SECONDS):
            with contextlib.suppress(ray.exceptions.RayError):
                heard = ray.get(ear.take.remote())
                shown.show(heard)
                if elastic and not heard.workers and time.monotonic() - looked >= _LOOK_SECONDS:
                    look_at_nodes(ray)
                    looked = time.monotonic()

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield ear
    finally:
        over.set()
        thread.join()
        with contextlib.suppress(ray.exceptions.RayError):
            shown.show(ray.get(ear.take.remote()))
        ray.kill(ear)


class _Shown:
    """What of it is on the bar already."""

    def __init__(self, bar: Bar) -> None:
        self.bar, self.last, self.moved = bar, TrainingProgress(), time.monotonic()

    def show(self, heard: TrainingProgress) -> None:
        """Progress; and until the training has failed, what is waited for, and a line when another
        group goes on."""
        if heard.done != self.last.done:
            self.bar.advance(heard.done - self.last.done, heard.note)
            self.moved = time.monotonic()
        if not heard.failed:
            self._show_group(heard)
        self.last = heard

    def _show_group(self, heard: TrainingProgress) -> None:
        if heard.groups > self.last.groups > 0:
            log.info("training goes on with %s, from its newest checkpoint", _said(heard.workers))
        elif self.last.workers and not heard.workers:
            log.info("training lost workers; it waits for others")
        if not heard.workers:
            self.bar.waits("training workers to start")
        elif time.monotonic() - self.moved >= _SILENT_SECONDS:
            self.bar.waits(f"the next word of {_said(heard.workers)}")


def _said(workers: int) -> str:
    return "1 training worker" if workers == 1 else f"{workers} training workers"
