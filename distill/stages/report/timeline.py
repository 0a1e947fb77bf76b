"""The runs that made what the page judges: workers, rows a second and losses over time, and what
each run took. Drivers of parts that worked side by side are shown as one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from distill.core.fleet import Fleet, fleets, in_words, time_unit
from distill.core.timeline import RunRecord
from distill.stages.report.drawing import (
    COLOURS,
    Chart,
    Mark,
    as_svg,
    few_ticks,
    house_style,
    new_figure,
)
from distill.stages.report.measure import short_number

_MOST_RUNS = 8
_WORKERS_COLOUR = COLOURS[0]
_ROWS_COLOUR = COLOURS[2]
_LOST_COLOUR = COLOURS[5]


@dataclass(frozen=True)
class RunLine:
    """One line of the table."""

    name: str
    cells: Sequence[str]


@dataclass(frozen=True)
class RunSection:
    """What the page says of the runs. The template only places it."""

    all: Sequence[Fleet]  # the oldest first

    @property
    def shown(self) -> Sequence[Fleet]:
        """The newest ones, in their order."""
        return self.all[-_MOST_RUNS:]

    @cached_property
    def charts(self) -> list[Chart]:
        """The course of the newest run that committed labels."""
        labelled = [fleet for fleet in self.all if fleet.commits and len(fleet.points) > 2]
        return [draw_timeline(labelled[-1])] if labelled else []

    @property
    def heads(self) -> list[str]:
        """Column heads of the table."""
        heads = ["drivers", "took", "most workers", "rows", "fragments", "workers' time"]
        if self._has_gpus:
            heads.append("GPUs' time")
        if self._is_priced:
            heads.append("dollars")
        return [*heads, "lost on the way"]

    @property
    def lines(self) -> list[RunLine]:
        """One a run."""
        return [self._line(fleet) for fleet in self.shown]

    @property
    def note(self) -> str:
        """How to read the table."""
        note = "Times are UTC. What was lost was done again by others, or by a later run."
        hidden = len(self.all) - len(self.shown)
        return f"The newest {len(self.shown)} runs; {hidden} before. {note}" if hidden else note

    @property
    def _is_priced(self) -> bool:
        return any(fleet.dollars is not None for fleet in self.shown)

    @property
    def _has_gpus(self) -> bool:
        return any(fleet.gpu_hours for fleet in self.shown)

    def _line(self, fleet: Fleet) -> RunLine:
        drivers = f"{len(fleet.records):,}"
        cells = [
            drivers,
            in_words(fleet.seconds),
            f"{fleet.most_workers:,.0f}",
            f"{fleet.rows:,}",
            f"{fleet.commits:,}",
            in_words(3600 * fleet.worker_hours),
        ]
        if self._has_gpus:
            cells.append(in_words(3600 * fleet.gpu_hours) if fleet.gpu_hours else "–")
        if self._is_priced:
            cells.append("–" if fleet.dollars is None else f"{fleet.dollars:,.2f}")
        return RunLine(_when(fleet.began), [*cells, fleet.losses])


def run_section(records: Sequence[RunRecord]) -> RunSection | None:
    """Return what there is to say of runs; None where none was recorded."""
    return RunSection(fleets(records)) if records else None


def draw_timeline(fleet: Fleet) -> Chart:
    """Draw workers above rows a second, over the same time; a line down through both is a loss."""
    size, unit = time_unit(fleet.seconds)
    with house_style():
        figure = new_figure(3.6)
        workers, rows = figure.subplots(2, 1, sharex=True)
        _draw_workers(workers, fleet, size)
        _draw_rates(rows, fleet, size)
        for axes in (workers, rows):
            _draw_losses(axes, fleet, size)
            few_ticks(axes.yaxis, 4, whole=axes is workers)
            axes.set_ylim(bottom=0)
        few_ticks(rows.xaxis, 7)
        rows.set_xlabel(f"{unit} since {_when(fleet.began)}")
        rows.set_xlim(0, max(fleet.seconds / size, 1e-9))
        title = "Workers and rows a second"
        text = _described(fleet)
        svg = as_svg(figure, title=title, description=text)
    legend = [Mark("workers", _WORKERS_COLOUR), Mark("rows a second", _ROWS_COLOUR)]
    if fleet.marks:
        legend.append(Mark("something was lost", _LOST_COLOUR, dashed=True))
    return Chart(title=title, svg=svg, legend=legend, caption=text)


def _draw_workers(axes: Any, fleet: Fleet, size: float) -> None:
    times = [point.seconds / size for point in fleet.points]
    counts = [point.workers for point in fleet.points]
    axes.step(times, counts, where="post", color=_WORKERS_COLOUR, linewidth=1.4)
    axes.fill_between(times, counts, step="post", color=_WORKERS_COLOUR, alpha=0.15, linewidth=0)
    axes.set_ylabel("workers")


def _draw_rates(axes: Any, fleet: Fleet, size: float) -> None:
    rates = fleet.rates()
    times = [0.0, *(seconds / size for seconds, _ in rates)]
    values = [rate for _, rate in rates]
    axes.stairs(values, times, color=_ROWS_COLOUR, linewidth=1.4)
    axes.stairs(values, times, color=_ROWS_COLOUR, alpha=0.15, fill=True)
    axes.yaxis.set_major_formatter(lambda value, _: short_number(value))
    axes.set_ylabel("rows/s")


def _draw_losses(axes: Any, fleet: Fleet, size: float) -> None:
    for mark in fleet.marks:
        axes.axvline(mark.seconds / size, color=_LOST_COLOUR, linewidth=0.9, linestyle=(0, (4, 3)))


def _described(fleet: Fleet) -> str:
    text = (
        f"{fleet.rows:,} rows in {in_words(fleet.seconds)} by {fleet.workers_in_words};"
        f" lost on the way: {fleet.losses}."
    )
    drivers = len(fleet.records)
    return f"{drivers} drivers together: {text}" if drivers > 1 else text


def _when(moment: float) -> str:
    when = time.gmtime(moment)
    return time.strftime("%Y-%m-%d %H:%M", when)
