"""What a person sees of a job's runs: a line of the last one, and its course as a table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

from distill.cli.terminal import print_table
from distill.core.fleet import Fleet, in_words
from distill.core.timeline import Point

_LINES = 20


def last_run_line(fleet: Fleet) -> str:
    """Say a run in a line: when, what came of it, what was lost."""
    began = time.strftime("%Y-%m-%d %H:%M", time.gmtime(fleet.began))
    drivers = f"{len(fleet.records)} drivers, " if len(fleet.records) > 1 else ""
    money = "" if fleet.dollars is None else f", {fleet.dollars:,.2f} dollars"
    return (
        f"Last run: {began} UTC, {in_words(fleet.seconds)}, {fleet.state()};"
        f" {drivers}{fleet.workers_in_words}{money}; {fleet.rows:,} rows in {fleet.commits:,}"
        f" fragments; lost on the way: {fleet.losses}."
    )


def print_timeline(fleet: Fleet) -> None:
    """Print the course of a run: some lines from its begin to its end, and every loss."""
    lines = [
        (point.seconds, [f"{point.workers:,.0f}", f"{point.rows:,.0f}", f"{rate:,.0f}", ""])
        for point, rate in _chosen(fleet)
    ]
    lines += [(mark.seconds, ["", "", "", f"{mark.kind}: {mark.what}"]) for mark in fleet.marks]
    lines.sort(key=lambda line: line[0])
    rows = [[f"{seconds:,.1f}", *cells] for seconds, cells in lines]
    print_table("The last run", ["second", "workers", "rows", "rows/s", "lost"], rows)


def _chosen(fleet: Fleet) -> Sequence[tuple[Point, float]]:
    """Points at which the number of workers changes or some time has passed, each with the rows a
    second since the one before."""
    distance = fleet.seconds / _LINES
    chosen = [fleet.points[0]]
    for point in fleet.points[1:]:
        is_late = point.seconds - chosen[-1].seconds >= distance
        if is_late or point.workers != chosen[-1].workers:
            chosen.append(point)
    rates = [0.0]
    for before, after in pairwise(chosen):
        seconds = after.seconds - before.seconds
        rates.append((after.rows - before.rows) / seconds if seconds else 0.0)
    return list(zip(chosen, rates, strict=True))
