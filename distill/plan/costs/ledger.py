"""What the runs of a root have spent, kept as `spent/<run>.json`: one sealed object a run, written
anew by it alone about once a minute and when its work ends.

Resources are kept and no money, so that a job which is given prices later counts what was spent
before. Runs that found nothing to do have no object. `distill gc` rolls up what is of runs long
over in one object, `spent/all-<mark>.json`, and then deletes what stands in it: a run that is found
in both counts once.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial

from distill.core.account import HOUR, Price, RunSpent, StepSpent, add_up
from distill.core.schema import seal, unseal
from distill.plan.costs.money import WorkerKind, counted_dollars
from distill.spec.prices import Prices
from distill.storage.base import ObjectMissingError, Storage

_FOLDER = "spent"
_ROLLED = "all-"
_READ_THREADS = 16


@dataclass(frozen=True)
class Spent:
    """What some runs spent together."""

    hours: float  # in which at least one of them was at work
    gpu_hours: float
    money: float | None  # dollars; None without prices for all of it


class SpentBook:
    """What all runs of a root spent, as far as it was read: an object is read again only when it
    was written anew."""

    def __init__(self, root: Storage) -> None:
        self._folder = root.folder(_FOLDER)
        self._tokens: dict[str, str] = {}
        self._runs: dict[str, Sequence[RunSpent]] = {}  # by key

    def runs(self) -> list[RunSpent]:
        """Return all runs as they are stored now. Raises StorageError."""
        listed = {meta.key: meta.token for meta in self._folder.list_objects()}
        new = [key for key, token in listed.items() if self._tokens.get(key) != token]
        try:
            with ThreadPoolExecutor(_READ_THREADS) as threads:
                found = dict(zip(new, threads.map(self._read, new), strict=True))
        except ObjectMissingError:  # rolled up meanwhile
            return self.runs()
        self._runs = {key: found.get(key) or self._runs[key] for key in listed}
        self._tokens = listed
        # a run that is rolled up and not deleted yet is met twice
        unique = {run.run: run for runs in self._runs.values() for run in runs}
        return list(unique.values())

    def over(self, before: float) -> tuple[list[RunSpent], list[tuple[str, int]]]:
        """Return the runs that were over `before`, and keys and sizes of the objects that say
        nothing else; none where they are in one object already. Raises StorageError."""
        self.runs()
        is_over = {key: all(run.ended < before for run in runs) for key, runs in self._runs.items()}
        found = [key for key, over in is_over.items() if over]
        if len(found) < 2:
            return [], []
        runs = {run.run: run for key in found for run in self._runs[key]}
        sizes = {meta.key: meta.size_bytes for meta in self._folder.list_objects()}
        return list(runs.values()), [(f"{_FOLDER}/{key}", sizes.get(key, 0)) for key in found]

    def _read(self, key: str) -> list[RunSpent]:
        body = unseal(self._folder.read(key), self._folder.url(key))
        plain = body["runs"] if key.startswith(_ROLLED) else [body]
        return [RunSpent.from_plain(each) for each in plain]


def read_spent(root: Storage) -> list[RunSpent]:
    """Read what all runs of a root spent. Raises StorageError."""
    return SpentBook(root).runs()


def write_spent(root: Storage, run: RunSpent) -> None:
    """Keep what a run spent until now."""
    root.folder(_FOLDER).put(f"{run.run}.json", seal(asdict(run)))


def write_together(root: Storage, runs: Sequence[RunSpent]) -> None:
    """Keep what some runs spent, which are over, in one object."""
    plain = {"runs": [asdict(run) for run in runs]}
    root.folder(_FOLDER).put(f"{_ROLLED}{uuid.uuid4().hex[:8]}.json", seal(plain))


def price_of(prices: Prices | None) -> Price | None:
    """Return at how much an account counts an hour of a worker; None without prices."""
    return None if prices is None else partial(_dollars, prices)


def sum_spent(runs: Sequence[RunSpent], prices: Prices | None) -> Spent:
    """Add up what runs spent."""
    steps = [step for run in runs for step in run.steps.values()]
    price = price_of(prices)
    totals = add_up(steps, price)
    return Spent(_union_seconds(runs) / HOUR, totals.gpu_hours, totals.dollars)


def step_totals(runs: Iterable[RunSpent]) -> dict[str, StepSpent]:
    """Add up, by step, what runs spent."""
    totals: dict[str, StepSpent] = {}
    for run in runs:
        for name, step in run.steps.items():
            totals[name] = totals.get(name, StepSpent()).plus(step)
    return totals


def _dollars(prices: Prices, cpus: float, gpus: float) -> float | None:
    kind = WorkerKind(cpus, gpus)
    return counted_dollars(prices, kind)


def _union_seconds(runs: Sequence[RunSpent]) -> float:
    """Seconds in which at least one run was at work."""
    # drivers of parts work at the same time
    total = 0.0
    covered = 0.0
    for run in sorted(runs, key=lambda each: each.began):
        begin = max(run.began, covered)
        total += max(0.0, run.ended - begin)
        covered = max(covered, run.ended)
    return total
