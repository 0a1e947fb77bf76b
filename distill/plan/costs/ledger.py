"""What the runs of a root have spent, kept as `spent/<run>.json`: one sealed object a run, written
anew by it alone about once a minute and when its work ends.

Resources are kept and no money, so that a job which is given prices later counts what was spent
before. Runs that found nothing to do have no object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace

from distill.core.schema import seal, unseal
from distill.plan.costs.money import HOUR, WorkerKind, counted_dollars
from distill.spec.prices import Prices
from distill.storage.base import Storage

_FOLDER = "spent"
_READ_THREADS = 16


@dataclass(frozen=True)
class StepSpent:
    """What one run spent on one step."""

    cpus: float = 1.0
    """Of one worker."""
    gpus: float = 0.0
    """Of one worker."""
    worker_seconds: float = 0.0
    """Summed over workers."""
    wall_seconds: float = 0.0
    """From the step's begin to its end."""
    rows: int = 0
    fragments: int = 0
    bytes: int = 0

    def plus(self, other: StepSpent) -> StepSpent:
        """Return both together; workers are of the kind that did more."""
        more = max((self, other), key=lambda each: each.worker_seconds)
        return StepSpent(
            more.cpus,
            more.gpus,
            self.worker_seconds + other.worker_seconds,
            self.wall_seconds + other.wall_seconds,
            self.rows + other.rows,
            self.fragments + other.fragments,
            self.bytes + other.bytes,
        )


@dataclass(frozen=True)
class RunSpent:
    """What one run spent."""

    run: str
    job: str
    began: float
    """Seconds since 1970."""
    ended: float
    steps: Mapping[str, StepSpent] = field(default_factory=dict)

    def with_step(self, name: str, spent: StepSpent) -> RunSpent:
        """Return the run with more of one step."""
        before = self.steps.get(name, StepSpent())
        return replace(self, steps={**self.steps, name: before.plus(spent)})


@dataclass(frozen=True)
class Spent:
    """What some runs spent together."""

    hours: float
    """In which at least one of them was at work."""
    gpu_hours: float
    money: float | None
    """Dollars; None without prices for all of it."""


def read_spent(root: Storage) -> list[RunSpent]:
    """Read what all runs of a root spent. Raises StorageError."""
    folder = root.folder(_FOLDER)
    keys = [entry.key for entry in folder.list_objects() if entry.key.endswith(".json")]
    with ThreadPoolExecutor(_READ_THREADS) as threads:
        contents = list(threads.map(folder.read, keys))
    return [_run(content, folder.url(key)) for key, content in zip(keys, contents, strict=True)]


def write_spent(root: Storage, run: RunSpent) -> None:
    """Keep what a run spent until now."""
    root.folder(_FOLDER).put(f"{run.run}.json", seal(asdict(run)))


def sum_spent(runs: Sequence[RunSpent], prices: Prices | None) -> Spent:
    """Add up what runs spent."""
    steps = [step for run in runs for step in run.steps.values()]
    gpu_seconds = sum(step.worker_seconds * step.gpus for step in steps)
    return Spent(_union_seconds(runs) / HOUR, gpu_seconds / HOUR, _money(steps, prices))


def step_totals(runs: Iterable[RunSpent]) -> dict[str, StepSpent]:
    """Add up, by step, what runs spent."""
    totals: dict[str, StepSpent] = {}
    for run in runs:
        for name, step in run.steps.items():
            totals[name] = totals.get(name, StepSpent()).plus(step)
    return totals


def _run(content: bytes, where: str) -> RunSpent:
    body = unseal(content, where)
    steps = {name: StepSpent(**step) for name, step in body["steps"].items()}
    return RunSpent(**{**body, "steps": steps})


def _union_seconds(runs: Sequence[RunSpent]) -> float:
    """Seconds in which at least one run was at work: drivers of parts work at the same time."""
    total = 0.0
    covered = 0.0
    for run in sorted(runs, key=lambda each: each.began):
        begin = max(run.began, covered)
        total += max(0.0, run.ended - begin)
        covered = max(covered, run.ended)
    return total


def _money(steps: Sequence[StepSpent], prices: Prices | None) -> float | None:
    seconds: Counter[WorkerKind] = Counter()
    for step in steps:
        seconds[WorkerKind(step.cpus, step.gpus)] += step.worker_seconds  # type: ignore[assignment]
    total = 0.0
    for kind, worker_seconds in seconds.items():
        dollars = counted_dollars(prices, kind)
        if dollars is None and worker_seconds:
            return None
        total += (dollars or 0.0) * worker_seconds / HOUR
    return total if prices is not None else None
