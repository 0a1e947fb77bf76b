"""The course of a run: how many workers there were, what came of it, what was lost, and what it
cost so far, by the run's account.

A `Timeline` is an observer of events that can be asked for a `RunRecord` at any time. A record
holds the whole run so far in at most `MOST_POINTS` points: whoever has the newest needs no other.
Points are a second apart at first; when there are too many, every other one goes, and their
distance doubles.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from distill.core import events
from distill.core.account import Account
from distill.core.events import Event
from distill.core.losses import Losses, how_lost, lost_kind, named_losses

MOST_POINTS = 240
_FIRST_SECONDS = 1.0
_MOST_MARKS = 60  # losses that have a time of their own; all are counted
_NUMBER_DIGITS = 4


@dataclass(frozen=True)
class Point:
    """How far a run was. All but `workers` are sums since it began."""

    seconds: float  # since the run began
    workers: int
    rows: int
    commits: int
    lost: int  # nodes, workers and groups of them
    worker_hours: float
    dollars: float  # 0 where nobody said what an hour costs
    gpu_hours: float = 0.0


@dataclass(frozen=True)
class Mark:
    """One thing that was lost."""

    seconds: float  # since the run began
    kind: str  # see `distill.core.losses`
    what: str  # host, and how


@dataclass(frozen=True)
class RunRecord:
    """One driver's run, as far as it was when this was taken."""

    run: str
    job: str
    part: str  # `3/64` where several drivers worked on the job; else ""
    began: float  # seconds since 1970
    is_over: bool  # whether nothing was under way any more
    priced: bool
    points: Sequence[Point] = ()
    marks: Sequence[Mark] = ()
    lost: Mapping[str, int] = field(default_factory=dict)  # by kind
    how: Mapping[str, int] = field(default_factory=dict)  # nodes by how they were lost

    @property
    def last(self) -> Point:
        """The newest point."""
        return self.points[-1]

    @property
    def end(self) -> float:
        """When the newest point was, in seconds since 1970."""
        return self.began + self.last.seconds

    @property
    def most_workers(self) -> int:
        """The most that there were at a time."""
        return max(point.workers for point in self.points)

    @property
    def losses(self) -> str:
        """What was lost, in words."""
        return named_losses(self.lost, self.how)

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for JSON: points as columns, which takes a third of the bytes."""
        whole = replace(self, points=())
        plain = asdict(whole)
        names = Point.__dataclass_fields__
        plain["points"] = {name: [getattr(each, name) for each in self.points] for name in names}
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> RunRecord:
        """Return the record of which `to_plain` made `plain`."""
        columns = plain["points"]
        rows = zip(*columns.values(), strict=True)
        points = tuple(Point(**dict(zip(columns, row, strict=True))) for row in rows)
        marks = tuple(Mark(**each) for each in plain["marks"])
        return cls(**{**plain, "points": points, "marks": marks})


class Timeline:
    """The record of a run while it is made; an observer of events, of any thread."""

    def __init__(self, account: Account, part: str, began: float) -> None:
        self.account = account  # of the same run
        self.part = part
        self.began = began
        self._workers = 0
        self._losses = Losses()
        self._totals: Counter[str] = Counter()
        self._points: list[Point] = []
        self._marks: list[Mark] = []
        self._distance = _FIRST_SECONDS
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Count an event."""
        with self._lock:
            if event.name == "workers":
                workers = event.figures["workers"]
                self._workers = int(workers)
            self._losses(event)
            if event.name == "committed":
                self._totals["commits"] += 1
                self._totals["rows"] += int(event.figures["rows"])
            kind = lost_kind(event)
            if kind and len(self._marks) < _MOST_MARKS:
                what = ", ".join(filter(None, [event.worker, how_lost(event)]))
                self._marks.append(Mark(self._seconds(event.time), kind, what))
            # a change of workers is a corner of the curve, wherever the next point would be
            self._add_point(event.time, is_corner=event.name == "workers" or kind is not None)

    def record(self, *, is_over: bool, now: float | None = None) -> RunRecord:
        """Return the run up to now."""
        until = events.now() if now is None else now
        with self._lock:
            self._add_point(until, is_corner=True)
            spent = self.account.spent(until)
            return RunRecord(
                run=spent.run,
                job=spent.job,
                part=self.part,
                began=round(self.began, 3),
                is_over=is_over,
                priced=self.account.totals(until).dollars is not None,
                points=tuple(self._points),
                marks=tuple(self._marks),
                lost=dict(self._losses.counts),
                how=dict(self._losses.how),
            )

    def _seconds(self, now: float) -> float:
        return round(max(now - self.began, 0.0), 2)

    def _add_point(self, now: float, *, is_corner: bool = False) -> None:
        seconds = self._seconds(now)
        if self._points:
            since = seconds - self._points[-1].seconds
            if since < (0 if is_corner else self._distance):
                return
        totals = self.account.totals(now)
        point = Point(
            seconds=seconds,
            workers=self._workers,
            rows=self._totals["rows"],
            commits=self._totals["commits"],
            lost=self._losses.counts.total(),
            worker_hours=round(totals.worker_hours, _NUMBER_DIGITS + 2),
            dollars=round(totals.dollars or 0.0, _NUMBER_DIGITS),
            gpu_hours=round(totals.gpu_hours, _NUMBER_DIGITS + 2),
        )
        if self._points and self._points[-1].seconds == seconds:
            self._points.pop()
        self._points.append(point)
        if len(self._points) > MOST_POINTS:
            self._points = self._points[::2]
            self._distance *= 2
