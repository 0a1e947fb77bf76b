"""The monitor of a training: an actor that workers report to, and a thread of the driver that shows
what it knows on a bar. (`fit` blocks, and tells nothing itself.)

The bar shows the sum over the parts of the work. The monitor also decides when a training that
loses workers is given up: after `LOST_GROUPS` groups in a row that came no further than those
before.
"""

from __future__ import annotations

import contextlib
import logging
import signal
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
from distill.engine.ray.resources import Needs, look_at_nodes, what_lacks
from distill.engine.stop import gives_up, waiting

LOST_GROUPS = 8
"""Groups lost in a row, none of which came further, before training is given up."""
_MOST_CHARACTERS = 1_500
"""Of why a group was lost."""
_POLL_SECONDS = 0.5
_SILENT_SECONDS = 5.0
_LOOK_SECONDS = 2.0
_JOIN_SECONDS = 5.0
_INTERRUPT_SECONDS = 20.0
"""Longer than an interrupt takes to be heard where one is: a group that starts is waited for."""

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
        self.since: float | None = None
        """When its nodes were there for the first time."""
        self.failure = ""
        self.parts: dict[str, float] = {}
        self.given_up: dict[str, str] = {}
        self.furthest = 0.0
        self.fruitless = 0
        """Groups lost since the training last came further."""

    def start(self) -> None:
        """The cluster has what the group needs: it is paid for from now on."""
        if self.since is None:
            self.since = time.monotonic()

    def seconds(self) -> float:
        """Return since when the training is paid for, the groups that it lost too."""
        self.start()
        return time.monotonic() - (self.since or 0.0)

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
def monitored(ray: Any, bar: Bar, needs: Needs, *, elastic: bool = False) -> Iterator[Any]:
    """Yield a monitor's actor, and show on `bar` what it knows of a group that `needs` so much at
    the least. While an elastic group is lost, its nodes are looked at more often. A block of the
    main thread is interrupted where its workers are not there and not to be waited for
    (`engine.stop.waiting`)."""
    monitor = _start(ray)
    over = threading.Event()
    watch = _Watch(ray, monitor, bar, needs, elastic=elastic)

    def poll(head: Head) -> None:
        while not over.wait(_POLL_SECONDS):
            # where it does not answer, the next look tries again
            with contextlib.suppress(ray.exceptions.RayError):
                if head.answers:
                    watch.look()

    with watched_head(ray) as head, waiting():
        thread = threading.Thread(target=poll, args=(head,), daemon=True)
        thread.start()
        try:
            yield monitor
        finally:
            over.set()
            # a head node that is gone lets it wait for ever
            thread.join(_JOIN_SECONDS)
            with contextlib.suppress(ray.exceptions.RayError):
                watch.end()
            ray.kill(monitor)


class _Watch:
    """What the driver's thread looks at while a training runs."""

    def __init__(self, ray: Any, monitor: Any, bar: Bar, needs: Needs, *, elastic: bool) -> None:
        self.ray = ray
        self.monitor = monitor
        self.shown = _ShownProgress(bar, needs)
        self.needs = needs
        self.elastic = elastic
        self.lost_nodes = LostNodes(ray)
        self.draining_nodes = DrainingNodes(ray)
        self.interrupt = _Interrupt()
        self.looked = 0.0
        """At nodes, for a group that is lost."""

    def look(self) -> None:
        """Show how far the training is, and what it waits for. Raises RayError where the head node
        does not answer."""
        self.lost_nodes.look()
        self.draining_nodes.look()
        progress = self.ray.get(self.monitor.current.remote())
        missing = None
        if not progress.workers:
            missing = what_lacks(self.ray, self.needs)
            self._look_without_workers(missing)
        self.shown.show(progress, missing)

    def end(self) -> None:
        """Show how far it came. Raises RayError as above."""
        try:
            current = self.monitor.current.remote()
            progress = self.ray.get(current, timeout=_JOIN_SECONDS)
            self.shown.show(progress)
        finally:
            self.shown.end()

    def _look_without_workers(self, missing: str | None) -> None:
        if missing is None:
            self.monitor.start.remote()
        if gives_up():
            self.interrupt()
        if self.elastic and time.monotonic() - self.looked >= _LOOK_SECONDS:
            look_at_nodes(self.ray)
            self.looked = time.monotonic()


def _start(ray: Any) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # on the driver's node: no other node takes it along when it is lost
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0, scheduling_strategy=here)(Monitor)
    return actor.remote()


class _Interrupt:
    """Interrupts the main thread, as Ctrl-C does: Ray Train ends its own wait by that alone.

    Time and again, since one may be lost: Ray puts its handler in place only when its controller is
    there, whose end it then waits for; at the third it leaves at once (seen in 2.60: a driver on a
    busy machine that heard one and waited for ever).
    """

    def __init__(self) -> None:
        self.is_main = threading.current_thread() is threading.main_thread()
        self.due = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if self.is_main and now >= self.due:
            self.due = now + _INTERRUPT_SECONDS
            # to the thread and not to the process: it is asleep in a lock
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


class _ShownProgress:
    """The progress that a bar shows, and since when."""

    def __init__(self, bar: Bar, needs: Needs) -> None:
        self.bar = bar
        self.needs = needs
        self.workers = 0
        """Told last."""
        self.last = TrainingProgress()
        self.moved = time.monotonic()

    def show(self, progress: TrainingProgress, missing: str | None = None) -> None:
        """Move the bar; until the training has failed, name what it waits for (nodes where some are
        `missing`), and log when a group is lost or another goes on."""
        if progress.done != self.last.done:
            self.bar.advance(progress.done - self.last.done, progress.note)
            self.moved = time.monotonic()
        # a group that starts is there already
        starting = 0 if missing else self.needs.processes
        self._tell(progress.workers or starting)
        if not progress.failed:
            self._show_group(progress, missing)
        self.last = progress

    def end(self) -> None:
        """The group is gone."""
        self._tell(0)

    def _tell(self, workers: int) -> None:
        if workers != self.workers:
            self.workers = workers
            tell("workers", workers=workers, cpus=self.needs.cpus, gpus=self.needs.gpus)

    def _show_group(self, progress: TrainingProgress, missing: str | None) -> None:
        workers = _counted(progress.workers)
        if progress.groups > self.last.groups > 0:
            tell("training_resumed", workers=progress.workers)
            log.info("training goes on with %s, from its newest checkpoint", workers)
        elif self.last.workers and not progress.workers:
            tell("workers_lost", workers=self.last.workers)
            log.info("training lost workers; it waits for others")
        if not progress.workers:
            awaited = "training workers to start"
            self.bar.waits(f"nodes to come: it needs {missing}" if missing else awaited)
        elif time.monotonic() - self.moved >= _SILENT_SECONDS:
            self.bar.waits(f"the next word of {workers}")


def _counted(workers: int) -> str:
    return "1 training worker" if workers == 1 else f"{workers} training workers"
