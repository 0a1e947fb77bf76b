"""The comparison of all methods as a table: a line a group, a column a measure, and what is best
among students."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from distill.core.results import LOWER_IS_BETTER, SHARES, Evaluation, Group
from distill.stages.report.groups import changes_text, student_name
from distill.stages.report.measure import format_group_measure, full_name


@dataclass(frozen=True)
class Cell:
    """One figure of the comparison; `best` among students."""

    text: str
    best: bool


@dataclass(frozen=True)
class Line:
    """One method of the comparison."""

    group: Group
    name: str
    changes: str
    winner: bool
    cells: Sequence[Cell]


@dataclass(frozen=True)
class _Column:
    head: str
    value: Callable[[Group], float | None]
    text: Callable[[Group], str]
    higher_is_better: bool = False


def table_heads(evaluation: Evaluation) -> list[str]:
    """Return the heads of the columns, with unit and the better direction."""
    return [column.head for column in _columns(evaluation)]


def table_lines(evaluation: Evaluation, winner: Group | None) -> list[Line]:
    """Return one line a group, in the order of the job."""
    groups = evaluation.groups
    columns = [_cells(groups, column) for column in _columns(evaluation)]
    lines = []
    for number, group in enumerate(groups):
        cells = [column[number] for column in columns]
        name = student_name(group)
        lines.append(Line(group, name, changes_text(group), group == winner, cells))
    return lines


def _columns(evaluation: Evaluation) -> list[_Column]:
    measures = [_measure_column(measure) for measure in evaluation.shown]
    parameters = _Column("parameters ↓", _parameters, _parameters_text)
    milliseconds = _Column("ms/row ↓", _milliseconds, _milliseconds_text)
    return [*measures, parameters, milliseconds]


def _measure_column(measure: str) -> _Column:
    higher_is_better = measure not in LOWER_IS_BETTER
    unit = " %" if measure in SHARES else ""
    arrow = "↑" if higher_is_better else "↓"
    return _Column(
        # no line breaks before an arrow
        f"{full_name(measure)}{unit}\u00a0{arrow}",
        lambda group: group.mean(measure),
        lambda group: format_group_measure(group, measure),
        higher_is_better,
    )


def _cells(groups: Sequence[Group], column: _Column) -> list[Cell]:
    """Return a column's cells by group."""
    values = [column.value(group) for group in groups if group.role == "student"]
    known = {value for value in values if value is not None}
    best = None
    if len(known) > 1:  # nobody is called best where all are alike
        best = max(known) if column.higher_is_better else min(known)
    cells = []
    for group in groups:
        is_best = best is not None and group.role == "student" and column.value(group) == best
        cells.append(Cell(column.text(group), is_best))
    return cells


def _parameters(group: Group) -> float | None:
    return group.first.parameters


def _parameters_text(group: Group) -> str:
    count = group.first.parameters
    return "–" if count is None else f"{count:,}"


def _milliseconds(group: Group) -> float:
    return statistics.fmean(method.milliseconds_per_row for method in group.methods)


def _milliseconds_text(group: Group) -> str:
    value = _milliseconds(group)
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
