"""The monitor of a training: an actor that workers report to, and a thread of the driver that shows
what it knows on a bar. (`fit` blocks, and tells nothing itself.)

The bar shows the sum over the parts of the work. The monitor also decides when a training that
loses workers is given up: after `LOST_GROUPS` groups in a row that came no further than those
before.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from distill.core.events import tell
from distill.core.progress import Bar
from distill.engine.ray.draining import DrainingNodes
from distill.engine.ray.head import Head, watched_head
from distill.engine.ray.lost_nodes import LostNodes
from distill.engine.ray.resources import look_at_nodes

LOST_GROUPS = 8
"""Groups lost in a row, none of which came further, before training is given up."""
_MOST_CHARACTERS = 1_500
"""Of why a group was lost."""
_POLL_SECONDS = 0.5
_SILENT_SECONDS = 5.0
_LOOK_SECONDS = 2.0

log = logging.getLogger(__name__)


@dataclass
class TrainingProgress:
    """How far a training is, by its workers' reports."""

    done: float = 0.0
    """Summed over the parts."""
    note: str = ""
    groups: int = 0
    """Begun so far."""
    workers: int = 0
    """Of the group at work; 0 where none is."""
    failed: bool = False
    """For good: nothing is waited for any more."""


class Monitor:
    """Of one training; the class of an actor."""

    def __init__(self) -> None:
        self.progress = TrainingProgress()
        self.failure = ""
        self.parts: dict[str, float] = {}
        self.given_up: dict[str, str] = {}
        self.furthest = 0.0
        self.fruitless = 0
        """Groups lost since the training last came further."""

    def begin(self, rank: int, workers: int) -> str:
        """A worker of a group starts. Return why the training failed, "" where it did not."""
        if rank == 0:
            self.progress.groups += 1
            self.progress.workers = workers
        return self.failure

    def report(self, part: str, done: float, note: str) -> None:
        """So much of one part of the work is done."""
        # how far it is, never how much was added: what is done again after a restart moves the bar
        # back, and is not counted twice, whichever team does it then
        self.parts[part] = done
        self.progress.done = sum(self.parts.values())
        self.progress.note = note
        if self.progress.done > self.furthest:
            self.furthest = self.progress.done
            self.fruitless = 0

    def give_up(self, part: str, reason: str) -> None:
        """A part cannot be done. A group that is started again finds the same once more."""
        self.given_up[part] = reason

    def fail(self, reason: str) -> None:
        """The work itself raised, and no restart helps. The first reason counts."""
        self.failure = self.failure or reason
        self.progress.failed = True

    def lose(self, reason: str, preempted: bool = False) -> str:
        """A group is lost, or its node was taken away. Return why the training shall end, "" where
        it goes on."""
        self.progress.workers = 0
        # a node that is taken away is nothing that the training could be given up for
        self.fruitless += not preempted
        # in a row, so that a training that lives through many lost nodes is not ended by their
        # number
        if self.fruitless > LOST_GROUPS:
            self.fail(
                f"training lost workers {self.fruitless} times without coming further and was given"
                f" up: {reason[-_MOST_CHARACTERS:]}. Run the same command again; it goes on from"
                " the newest checkpoint."
            )
        return self.failure

    def current(self) -> TrainingProgress:
        """Return how far the training is now."""
        return self.progress

    def outcome(self) -> tuple[str, dict[str, str]]:
        """Return why the training failed, "" where it did not, and part → reason of what was given
        up."""
        return self.failure, self.given_up


@contextlib.contextmanager
def monitored(ray: Any, bar: Bar, *, elastic: bool = False) -> Iterator[Any]:
    """Yield a monitor's actor, and show on `bar` what it knows. While an elastic group is lost, its
    nodes are looked at more often."""
    monitor = _start(ray)
    over = threading.Event()
    shown = _ShownProgress(bar)
    lost_nodes = LostNodes(ray)
    draining_nodes = DrainingNodes(ray)

    def poll(head: Head) -> None:
        looked = 0.0
        while not over.wait(_POLL_SECONDS):
            if not head.answers:
                continue
            with contextlib.suppress(ray.exceptions.RayError):
                lost_nodes.look()
                draining_nodes.look()
                asked = monitor.current.remote()
                progress = ray.get(asked)
                shown.show(progress)
                lost = elastic and not progress.workers
                if lost and time.monotonic() - looked >= _LOOK_SECONDS:
                    look_at_nodes(ray)
                    looked = time.monotonic()

    with watched_head(ray) as head:
        thread = threading.Thread(target=poll, args=(head,), daemon=True)
        thread.start()
        try:
            yield monitor
        finally:
            over.set()
            thread.join()
            with contextlib.suppress(ray.exceptions.RayError):
                shown.show(ray.get(monitor.current.remote()))
            tell("workers", workers=0)
            ray.kill(monitor)


def _start(ray: Any) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # on the driver's node: no other node takes it along when it is lost
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0, scheduling_strategy=here)(Monitor)
    return actor.remote()


class _ShownProgress:
    """The progress that a bar shows, and since when."""

    def __init__(self, bar: Bar) -> None:
        self.bar = bar
        self.last = TrainingProgress()
        self.moved = time.monotonic()

    def show(self, progress: TrainingProgress) -> None:
        """Move the bar; until the training has failed, name what it waits for, and log when a group
        is lost or another goes on."""
        if progress.done != self.last.done:
            self.bar.advance(progress.done - self.last.done, progress.note)
            self.moved = time.monotonic()
        if progress.workers != self.last.workers:
            tell("workers", workers=progress.workers)
        if not progress.failed:
            self._show_group(progress)
        self.last = progress

    def _show_group(self, progress: TrainingProgress) -> None:
        workers = _counted(progress.workers)
        if progress.groups > self.last.groups > 0:
            tell("training_resumed", workers=progress.workers)
            log.info("training goes on with %s, from its newest checkpoint", workers)
        elif self.last.workers and not progress.workers:
            tell("workers_lost", workers=self.last.workers)
            log.info("training lost workers; it waits for others")
        if not progress.workers:
            self.bar.waits("training workers to start")
        elif time.monotonic() - self.moved >= _SILENT_SECONDS:
            self.bar.waits(f"the next word of {workers}")


def _counted(workers: int) -> str:
    return "1 training worker" if workers == 1 else f"{workers} training workers"
