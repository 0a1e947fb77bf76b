"""Runs as their drivers' events leave them."""

from __future__ import annotations

from distill.core import events
from distill.core.account import Account
from distill.core.events import Event
from distill.core.timeline import RunRecord, Timeline

BEGAN = 1_000_000.0


def event(name: str, at: float, worker: str = "", **figures: float | str) -> Event:
    return Event(name, BEGAN + at, "job", "labels.teacher", "", worker, figures)


def workers(at: float, count: int, gpus: float = 0.0) -> Event:
    return event("workers", at, workers=count, cpus=1.0, gpus=gpus)


def commit(at: float, rows: int = 64) -> Event:
    return event("committed", at, rows=rows, bytes=rows, rejected=0, busy_seconds=0.5)


def lost_node(at: float, host: str = "host-a") -> Event:
    return event("node_lost", at, host, why="preempted", market="spot")


def record(
    *seen: Event,
    until: float,
    part: str = "",
    run: str = "run",
    is_over: bool = True,
    dollars: float | None = None,
) -> RunRecord:
    """The record of a run that began with the first event, where a worker without GPUs costs so
    many dollars an hour, and one with them has no price."""
    account = Account(run, "job", lambda _cpus, gpus: None if gpus else dollars)
    begin_at(account, seen[0].time)
    timeline = Timeline(account, part, seen[0].time)
    for each in seen:
        account(each)
        timeline(each)
    return timeline.record(is_over=is_over, now=BEGAN + until)


def begin_at(account: Account, moment: float, step: str = "labels.teacher") -> None:
    """Begin a step at a moment of the past."""
    now = events.now
    events.now = lambda: moment
    try:
        account.begin(step)
    finally:
        events.now = now
