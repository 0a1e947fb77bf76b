"""What a run costs: the machines that its workers hold, by step, counted from the run's events.

This is the one account of it. The budget, the timeline, the metrics, `distill plan` and the report
all read it, so that they state the same hours, GPU-hours and dollars.

A worker counts for as long as it is there, whether it has work or not: an actor from when it lives
until it is gone, with its start and its wait for the last fragment; a training worker from when the
cluster has what its group needs, so that the group's start counts; a task of a pass while it runs.
The engine says how many there are and what each holds (the event `workers`). A step of which no
engine says anything is done by the driver's own process, which counts as one worker of one CPU.

What is not counted: nodes that hold no worker, waiting for nodes, the driver beside its workers,
tasks that prepare rows for an actor on other nodes, and the listing of pools.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from distill.core import events
from distill.core.events import Event
from distill.core.plain import Plain

HOUR = 3600.0


@dataclass(frozen=True)
class Held:
    """How long workers of one kind were there, summed over them."""

    cpus: float  # of one worker
    gpus: float  # of one worker
    seconds: float


@dataclass(frozen=True)
class StepSpent(Plain):
    """What was spent on one step, and what came of it."""

    held: tuple[Held, ...] = ()  # one of each kind of worker
    rows: int = 0
    fragments: int = 0
    bytes: int = 0

    @property
    def hours(self) -> float:
        """In which workers were there, summed over them."""
        return sum(each.seconds for each in self.held) / HOUR

    def plus(self, other: StepSpent) -> StepSpent:
        """Return both together."""
        seconds: Counter[tuple[float, float]] = Counter()
        for each in (*self.held, *other.held):
            seconds[each.cpus, each.gpus] += each.seconds  # type: ignore[assignment]
        held = tuple(Held(cpus, gpus, total) for (cpus, gpus), total in seconds.items())
        return StepSpent(
            held, self.rows + other.rows, self.fragments + other.fragments, self.bytes + other.bytes
        )

    def times(self, share: float) -> StepSpent:
        """Return a share of what was held; nothing came of it by itself."""
        held = (replace(each, seconds=share * each.seconds) for each in self.held)
        return StepSpent(tuple(held))

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> StepSpent:
        """Return what `asdict` made plain; an older distill counted the work of one kind alone."""
        if "held" in plain:
            return super().from_plain(plain)
        # passes had no workers, only the time that they took
        seconds = plain["worker_seconds"] or plain["wall_seconds"]
        held = (Held(plain["cpus"], plain["gpus"], seconds),)
        return cls(held, plain["rows"], plain["fragments"], plain["bytes"])


@dataclass(frozen=True)
class RunSpent(Plain):
    """What one run spent."""

    run: str
    job: str
    began: float  # seconds since 1970
    ended: float
    steps: Mapping[str, StepSpent] = field(default_factory=dict)


@dataclass(frozen=True)
class Totals:
    """What some steps cost together."""

    worker_hours: float = 0.0
    gpu_hours: float = 0.0
    dollars: float | None = None  # None where some of it has no price


# CPUs and GPUs of a worker to dollars an hour; None where no price fits
Price = Callable[[float, float], float | None]


def add_up(steps: Iterable[StepSpent], price: Price | None) -> Totals:
    """Return what steps cost together; without a `price` no dollars."""
    held = [each for step in steps for each in step.held if each.seconds]
    dollars: float | None = None if price is None else 0.0
    for each in held:
        an_hour = None if price is None else price(each.cpus, each.gpus)
        if an_hour is None or dollars is None:
            dollars = None
        else:
            dollars += an_hour * each.seconds / HOUR
    return Totals(
        sum(each.seconds for each in held) / HOUR,
        sum(each.seconds * each.gpus for each in held) / HOUR,
        dollars,
    )


_DRIVER = (1.0, 0.0)  # CPUs and GPUs of the driver's process, where it is the worker


class Account:
    """Of one run; an observer of events, of any thread, while a step is in work."""

    def __init__(self, run: str, job_name: str, price: Price | None = None) -> None:
        self.price = None if price is None else cache(price)
        self._run = RunSpent(run, job_name, 0.0, 0.0)
        self._step: str | None = None  # in work; None between steps
        self._workers = 0
        self._kind = _DRIVER
        self._counted = 0.0
        self._lock = threading.Lock()

    @property
    def has_begun(self) -> bool:
        """Whether anything was in work until now."""
        return bool(self._run.began)

    def begin(self, step: str) -> None:
        """A step is in work from now on, by this process until an engine tells of workers."""
        now = events.now()
        with self._lock:
            if not self._run.began:
                self._run = replace(self._run, began=now)
            self._step = step
            self._workers = 1
            self._kind = _DRIVER
            self._counted = now

    def end(self) -> None:
        """The step is over, well or not."""
        now = events.now()
        with self._lock:
            self._count(now)
            self._step = None
            self._workers = 0

    def divide(self, shares: Mapping[str, float]) -> None:
        """Give what the step in work has held so far to the steps that it was for, in proportion to
        their `shares`: trainings in one group of workers are one piece of work."""
        total = sum(shares.values())
        with self._lock:
            now = events.now()
            self._count(now)
            assert self._step is not None
            if not total or self._step not in self._run.steps:
                return
            steps = dict(self._run.steps)
            whole = steps.pop(self._step)
            for name, share in shares.items():
                part = whole.times(share / total)
                steps[name] = steps.get(name, StepSpent()).plus(part)
            self._run = replace(self._run, steps=steps)

    def __call__(self, event: Event) -> None:
        """Count an event of the step in work."""
        with self._lock:
            if self._step is None:
                return
            if event.name == "workers":
                self._count(event.time)
                workers = event.figures["workers"]
                self._workers = int(workers)
                cpus = float(event.figures.get("cpus", 1.0))
                gpus = float(event.figures.get("gpus", 0.0))
                self._kind = (cpus, gpus)
            elif event.name == "committed" and event.step == self._step:
                figure = event.figures["rows"]
                rows = int(figure)
                self._add(StepSpent((), rows, 1, int(event.figures["bytes"])))

    def spent(self, now: float | None = None) -> RunSpent:
        """Return what the run spent up to now."""
        with self._lock:
            self._count(events.now() if now is None else now)
            return self._run

    def totals(self, now: float | None = None) -> Totals:
        """Return what the run cost up to now."""
        return add_up(self.spent(now).steps.values(), self.price)

    def _count(self, now: float) -> None:
        """Count the workers of the step in work up to now."""
        if self._step is None:
            return
        # events of several threads may come a little out of their order
        until = max(now, self._counted)
        passed = until - self._counted
        seconds = self._workers * passed
        self._counted = until
        self._run = replace(self._run, ended=until)
        if seconds:
            self._add(StepSpent((Held(*self._kind, seconds),)))

    def _add(self, spent: StepSpent) -> None:
        assert self._step is not None
        before = self._run.steps.get(self._step, StepSpent())
        steps = {**self._run.steps, self._step: before.plus(spent)}
        self._run = replace(self._run, steps=steps)
