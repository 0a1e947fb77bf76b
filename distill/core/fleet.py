"""Drivers that worked on a job at one time, taken together: `distill run --part` starts many, each
with a record of its own."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from distill.core.losses import named_losses
from distill.core.timeline import Mark, Point, RunRecord

_SUMS = ("rows", "commits", "lost", "worker_hours", "gpu_hours", "dollars")
# from so many seconds on, seconds of a unit, and its name
_UNITS = ((172_800.0, 86_400.0, "days"), (7_200.0, 3_600.0, "hours"), (120.0, 60.0, "minutes"))
_BINS = 120
# a run whose newest record is older, and that is not over, was ended from outside
_SILENT_SECONDS = 300.0
_SILENT_SHARE = 1 / 20
# parts begun so long after another ended belong to its job: a lost part that is begun again
_TOGETHER_SECONDS = 600.0


@dataclass(frozen=True)
class Fleet:
    """One driver's run, or those of the parts of a job."""

    records: Sequence[RunRecord]

    @property
    def began(self) -> float:
        """When the first began, in seconds since 1970."""
        return min(record.began for record in self.records)

    @property
    def seconds(self) -> float:
        """From the first's begin to the last's newest point."""
        return max(record.end for record in self.records) - self.began

    @property
    def rows(self) -> int:
        """Rows committed."""
        return sum(record.last.rows for record in self.records)

    @property
    def commits(self) -> int:
        """Fragments committed."""
        return sum(record.last.commits for record in self.records)

    @property
    def worker_hours(self) -> float:
        """Summed over workers."""
        return sum(record.last.worker_hours for record in self.records)

    @property
    def gpu_hours(self) -> float:
        """GPUs of workers times the hours in which they were there."""
        return sum(record.last.gpu_hours for record in self.records)

    @property
    def dollars(self) -> float | None:
        """What they cost; None where not every driver knew a price."""
        if not all(record.priced for record in self.records):
            return None
        return sum(record.last.dollars for record in self.records)

    @property
    def most_workers(self) -> int:
        """The most workers that there were at a time."""
        return max(point.workers for point in self.points)

    @property
    def workers_in_words(self) -> str:
        """How many workers there were, and how long in all."""
        most = self.most_workers
        workers = "1 worker" if most == 1 else f"up to {most:,.0f} workers"
        return f"{workers}, {in_words(3600 * self.worker_hours)} of workers' time"

    @property
    def lost(self) -> Counter[str]:
        """What was lost, by kind."""
        return _summed(record.lost for record in self.records)

    @property
    def losses(self) -> str:
        """What was lost, in words."""
        return named_losses(self.lost, _summed(record.how for record in self.records))

    @property
    def marks(self) -> list[Mark]:
        """Losses that have a time, seconds since the fleet began."""
        found = [
            Mark(record.began - self.began + mark.seconds, mark.kind, mark.what)
            for record in self.records
            for mark in record.marks
        ]
        return sorted(found, key=lambda mark: mark.seconds)

    @cached_property
    def points(self) -> Sequence[Point]:
        """What all drivers were together, at some times from the first to the last."""
        if len(self.records) == 1:
            return self.records[0].points
        step = self.seconds / _BINS
        return [self._at(number * step) for number in range(_BINS + 1)]

    def rates(self) -> list[tuple[float, float]]:
        """Return the rows a second from each point to the next: (seconds, rate)."""
        pairs = [(a, b) for a, b in pairwise(self._spaced()) if b.seconds > a.seconds]
        return [(b.seconds, (b.rows - a.rows) / (b.seconds - a.seconds)) for a, b in pairs]

    def state(self, now: float | None = None) -> str:
        """Return "over", "at work" or "ended from outside"."""
        if all(record.is_over for record in self.records):
            return "over"
        moment = time.time() if now is None else now
        silence = moment - max(record.end for record in self.records)
        # those that run for long write more rarely
        is_late = silence > _SILENT_SECONDS + _SILENT_SHARE * self.seconds
        return "ended from outside" if is_late else "at work"

    def _at(self, seconds: float) -> Point:
        sums: Counter[str] = Counter()
        for record in self.records:
            since = seconds - (record.began - self.began)
            sums.update(_state_at(record.points, since))
        return Point(seconds=seconds, **{name: sums[name] for name in ("workers", *_SUMS)})

    def _spaced(self) -> list[Point]:
        # points at least a bin apart, so that a rate is over more than one commit
        step = self.seconds / _BINS
        chosen: list[Point] = []
        points = self.points
        for point in points:
            if not chosen or point.seconds - chosen[-1].seconds >= step:
                chosen.append(point)
        if chosen[-1] is not points[-1]:
            last = points[-1]
            chosen.append(last)
        return chosen


def time_unit(seconds: float) -> tuple[float, str]:
    """Return the unit in which so many seconds are read best: its seconds, and its name."""
    for least, size, name in _UNITS:
        if seconds >= least:
            return size, name
    return 1.0, "seconds"


def in_words(seconds: float) -> str:
    """Return `12.3 seconds`, `4.1 minutes`, `2.5 hours`."""
    size, unit = time_unit(seconds)
    return f"{seconds / size:,.3g} {unit}"


def fleets(records: Sequence[RunRecord]) -> list[Fleet]:
    """Return runs, the oldest first; parts of a job that worked at the same time are one."""
    return [Fleet(tuple(together)) for together in _together(records)]


def _together(records: Sequence[RunRecord]) -> Iterator[list[RunRecord]]:
    group: list[RunRecord] = []
    for record in sorted(records, key=lambda each: each.began):
        if group and not _belongs(record, group):
            yield group
            group = []
        group.append(record)
    if group:
        yield group


def _belongs(record: RunRecord, group: Sequence[RunRecord]) -> bool:
    if not (record.part and all(each.part for each in group)):
        return False
    newest = max(each.end for each in group)
    pause = record.began - newest
    return pause < _TOGETHER_SECONDS


def _state_at(points: Sequence[Point], seconds: float) -> Mapping[str, float]:
    """Return what a driver had done by a time, evenly between two points, and its workers."""
    place = bisect_right(points, seconds, key=lambda point: point.seconds)
    if place == 0:
        return {}
    before = points[place - 1]
    if place == len(points):
        # who is over has no workers, whatever the last point says
        return {name: getattr(before, name) for name in _SUMS}
    after = points[place]
    share = (seconds - before.seconds) / (after.seconds - before.seconds)
    workers = float(before.workers)
    done = {"workers": workers}
    for name in _SUMS:
        first = getattr(before, name)
        done[name] = first + share * (getattr(after, name) - first)
    return done


def _summed(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total
