"""Runs as their drivers' events leave them."""

from __future__ import annotations

from distill.core.events import Event
from distill.core.timeline import RunRecord, Timeline

BEGAN = 1_000_000.0


def event(name: str, at: float, worker: str = "", **figures: float | str) -> Event:
    return Event(name, BEGAN + at, "job", "labels.teacher", "", worker, figures)


def workers(at: float, count: int) -> Event:
    return event("workers", at, workers=count)


def commit(at: float, rows: int = 64) -> Event:
    return event("committed", at, rows=rows, rejected=0, busy_seconds=0.5)


def lost_node(at: float, host: str = "host-a") -> Event:
    return event("node_lost", at, host, why="preempted", market="spot")


def record(
    *seen: Event, until: float, part: str = "", run: str = "run", is_over: bool = True
) -> RunRecord:
    """The record of a run that began with the first event."""
    timeline = Timeline(run, "job", part, seen[0].time)
    for each in seen:
        timeline(each)
    return timeline.record(is_over=is_over, now=BEGAN + until)
