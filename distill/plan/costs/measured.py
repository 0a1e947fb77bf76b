"""Ranges of what is left of a label set, by what the commits of some of its fragments say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from distill.core.costs import Range, StepCost
from distill.labels.commit import Commit
from distill.plan.costs.money import HOUR, WorkerKind
from distill.plan.costs.ranges import COLD_SECONDS, total_range
from distill.plan.costs.setting import Setting
from distill.spec.labels import Compute

_FEW = 2  # fragments that are needed for a spread


@dataclass(frozen=True)
class Measured:
    """What some commits took, and how much is left."""

    setting: Setting
    known: Sequence[Commit]
    compute: Compute
    rows_left: int
    fragments_left: int
    file_bytes: int  # of a data file without rows

    def cost(self, cost: StepCost) -> StepCost:
        """Return the cost with all that is known."""
        most_workers = min(self.compute.max, self.fragments_left)
        # some may be at work already, or never come
        starts = Range(0.0, (self._startup + COLD_SECONDS) * most_workers)
        worker_seconds = self._seconds + starts
        worker_hours = worker_seconds.times(1 / HOUR)
        memory = self._most("memory_bytes")
        kind = WorkerKind(cost.cpus, cost.gpus, memory)
        reads = self._left_of("reads")
        writes = self._left_of("writes")
        requests = self._request_dollars(reads, writes)
        hours = {str(workers): self._hours(workers) for workers in self._numbers()}
        note = ""
        if len(self.known) < _FEW:
            note = "of one fragment, so from half to twice of it"
        return replace(
            cost,
            memory_bytes=memory,
            worker_hours=worker_hours,
            hours=hours,
            gpu_hours=worker_hours.times(cost.gpus),
            bytes=self._bytes(),
            requests=reads + writes,
            dollars=self.setting.dollars(worker_hours, kind, requests),
            note=note,
        )

    def _numbers(self) -> list[int]:
        """Numbers of workers that hours are said for."""
        return sorted(set(self.setting.workers or (self.compute.min, self.compute.max)))

    def _hours(self, workers: int) -> Range:
        at_work = min(workers, self.fragments_left)
        each = self._seconds.times(1 / at_work)
        # the others are done while the last one is still at its last fragment
        tail = self._most("seconds") if at_work > 1 else 0.0
        start = self._startup + COLD_SECONDS
        return (each + Range(0.0, start + tail)).times(1 / HOUR)

    def _bytes(self) -> Range:
        """What is left to store: each file's own bytes, whatever its rows, and those of rows."""
        own = min(self.file_bytes, *(commit.bytes for commit in self.known))
        of_rows = [float(commit.bytes - own) for commit in self.known]
        files = Range.exactly(float(own * self.fragments_left))
        return files + self._left(of_rows)

    def _request_dollars(self, reads: Range, writes: Range) -> Range | None:
        tables = self.setting.workspace.tables
        prices = tables.job.prices
        if prices is None or prices.requests is None:
            return None
        read = reads.times(prices.requests.read / 1000)
        return read + writes.times(prices.requests.write / 1000)

    @cached_property
    def _seconds(self) -> Range:
        """Of all workers together, their starts apart."""
        return self._left_of("seconds")

    @cached_property
    def _startup(self) -> float:
        """The longest start of a worker."""
        return self._most("startup_seconds")

    def _left(self, amounts: Sequence[float]) -> Range:
        """Return what is left, where each known commit took one of `amounts`."""
        pairs = zip(amounts, self.known, strict=True)
        per_row = [amount / commit.rows for amount, commit in pairs]
        return total_range(per_row, self.rows_left, self.fragments_left)

    def _left_of(self, number: str) -> Range:
        """What is left of one of a commit's numbers (`distill.core.work`)."""
        return self._left([commit.work.get(number, 0.0) for commit in self.known])

    def _most(self, number: str) -> float:
        return max(commit.work.get(number, 0.0) for commit in self.known)
