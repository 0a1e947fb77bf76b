"""What a job will cost, as plain values: what `distill plan` shows and keeps, and what the report
sets beside what was spent.

Amounts are ranges. Where only what was done so far bounds one, it has no end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from distill.core.plain import Plain


@dataclass(frozen=True)
class Range:
    """From the least to the most that is to be expected; `high` is None where nothing says it."""

    low: float
    high: float | None

    def __add__(self, other: Range) -> Range:
        high = None
        if self.high is not None and other.high is not None:
            high = self.high + other.high
        return Range(self.low + other.low, high)

    def times(self, factor: float) -> Range:
        """Return so many times as much."""
        return Range(self.low * factor, None if self.high is None else self.high * factor)

    def holds(self, amount: float) -> bool:
        """Whether an amount lies within."""
        return self.low <= amount and (self.high is None or amount <= self.high)

    @classmethod
    def exactly(cls, amount: float) -> Range:
        """Return the range of what is known."""
        return cls(amount, amount)


NOTHING = Range(0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class StepCost(Plain):
    """What is left of one step, and what it will take. None: nobody can say before it is begun."""

    step: str  # its key: `labels.teacher`, `students.small`, `evaluate`
    rows: int  # that it sees in all, over all epochs or passes
    rows_left: int
    cpus: float = 1.0  # of one worker
    gpus: float = 0.0  # of one worker
    memory_bytes: float = 0.0  # of one worker; 0 where nobody knows
    worker_hours: Range | None = None  # of what is left, summed over workers
    # of what is left, by number of workers
    hours: Mapping[str, Range] = field(default_factory=dict)
    gpu_hours: Range | None = None
    bytes: Range | None = None  # that what is left will store
    requests: Range | None = None  # to stores, of what is left
    # of what is left, by instance and market; empty without prices
    dollars: Mapping[str, Range] = field(default_factory=dict)
    spent_worker_hours: float = 0.0  # by all runs until now
    spent_bytes: float = 0.0  # stored already
    note: str = ""
    # of a step that is done: of the whole of it, as the newest plan before said
    planned_worker_hours: Range | None = None
    planned_bytes: Range | None = None  # Likewise

    def beside_former(self, former: StepCost) -> StepCost:
        """Return the step, where it is done, with what a plan before said of it."""
        if self.rows_left or not self.rows:
            return self
        return replace(
            self,
            planned_worker_hours=former.planned_worker_hours or former.whole_worker_hours,
            planned_bytes=former.planned_bytes or former.whole_bytes,
        )

    @property
    def expected_worker_hours(self) -> Range | None:
        """Of the whole step, as it was planned before it was done."""
        return self.planned_worker_hours or self.whole_worker_hours

    @property
    def expected_bytes(self) -> Range | None:
        """Of the whole step, as it was planned before it was done."""
        return self.planned_bytes or self.whole_bytes

    @property
    def whole_worker_hours(self) -> Range | None:
        """Of the whole step: spent and left."""
        if self.worker_hours is None:
            return None
        return self.worker_hours + Range.exactly(self.spent_worker_hours)

    @property
    def whole_bytes(self) -> Range | None:
        """Of the whole step: stored and left."""
        return None if self.bytes is None else self.bytes + Range.exactly(self.spent_bytes)


@dataclass(frozen=True)
class RowCost(Plain):
    """What a teacher or student takes to answer rows."""

    name: str
    role: str  # `teacher` or `student`
    seconds_a_million: Range  # of one worker, for a million rows
    dollars_a_million: Mapping[str, Range]  # by instance and market; empty without prices


@dataclass(frozen=True, kw_only=True)
class CostPlan(Plain):
    """What is left of a job, and what it will take."""

    job: str
    planned: float  # when: seconds since 1970
    prices_on: str  # the day of the prices; "" without them
    pilot: int  # fragments that were labelled for it now
    steps: tuple[StepCost, ...]
    a_million_rows: tuple[RowCost, ...]

    @property
    def worker_hours(self) -> Range:
        """Of all steps; without an end where one has none."""
        return _sum(step.worker_hours for step in self.steps if step.rows_left)

    @property
    def bytes(self) -> Range:
        """That all that is left will store."""
        return _sum(step.bytes for step in self.steps if step.rows_left)

    def dollars(self, price: str) -> Range:
        """Of all that is left and has room on one instance."""
        return _sum(step.dollars.get(price) for step in self.steps if step.rows_left)

    def beside_former(self, former: CostPlan) -> CostPlan:
        """Return the plan with what one before said of the steps that are done."""
        known = {step.step: step for step in former.steps}
        steps = [step.beside_former(known.get(step.step, step)) for step in self.steps]
        return replace(self, steps=tuple(steps))


@dataclass(frozen=True)
class StepActual(Plain):
    """What a step was to take, by the newest plan, and what all runs took."""

    step: str
    worker_hours: Range | None  # as planned
    spent_worker_hours: float
    bytes: Range | None  # as planned
    spent_bytes: float
    spent_gpu_hours: float = 0.0
    spent_dollars: float | None = None  # None where some of it has no price


def _sum(ranges: Iterable[Range | None]) -> Range:
    total = NOTHING
    for each in ranges:
        total += Range(0.0, None) if each is None else each
    return total
