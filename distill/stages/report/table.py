"""The comparison of all methods as a table: a line a group, a column a measure, and the best."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from distill.core.results import LOWER_IS_BETTER, SHARES, Evaluation, Group
from distill.core.verdict import format_interval
from distill.stages.report.groups import changes_text, student_name
from distill.stages.report.measure import format_group_measure, full_name


@dataclass(frozen=True)
class Cell:
    """One figure of the comparison; `best` among students."""

    text: str
    best: bool
    interval: str = ""  # of the draw of the test rows


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
    interval: Callable[[Group], str] = lambda _group: ""


def table_heads(evaluation: Evaluation, measures: Sequence[str] | None = None) -> list[str]:
    """Return the heads of the columns, with unit and the better direction."""
    return [column.head for column in _columns(evaluation, measures)]


def table_lines(
    evaluation: Evaluation, winner: Group | None, measures: Sequence[str] | None = None
) -> list[Line]:
    """Return one line a group, in the order of the job: of some measures alone, or of the first
    ones, size and speed."""
    groups = evaluation.groups
    columns = [_cells(groups, column) for column in _columns(evaluation, measures)]
    lines = []
    for number, group in enumerate(groups):
        cells = [column[number] for column in columns]
        name = student_name(group)
        lines.append(Line(group, name, changes_text(group), group == winner, cells))
    return lines


def _columns(evaluation: Evaluation, measures: Sequence[str] | None) -> list[_Column]:
    if measures is not None:
        return [_measure_column(measure) for measure in measures]
    first = [_measure_column(measure) for measure in evaluation.shown]
    parameters = _Column("parameters ↓", _parameters, _parameters_text)
    milliseconds = _Column("ms/row ↓", _milliseconds, _milliseconds_text)
    return [*first, parameters, milliseconds]


def _measure_column(measure: str) -> _Column:
    higher_is_better = measure not in LOWER_IS_BETTER
    is_share = measure in SHARES
    unit = " %" if is_share else ""
    arrow = "↑" if higher_is_better else "↓"
    return _Column(
        # no line breaks before an arrow
        f"{full_name(measure)}{unit}\u00a0{arrow}",
        lambda group: group.mean(measure),
        lambda group: format_group_measure(group, measure),
        higher_is_better,
        lambda group: format_interval(group, measure),
    )


def _cells(groups: Sequence[Group], column: _Column) -> list[Cell]:
    values = [column.value(group) for group in groups if group.role == "student"]
    known = {value for value in values if value is not None}
    best = None
    if len(known) > 1:  # nobody is called best where all are alike
        best = max(known) if column.higher_is_better else min(known)
    cells = []
    for group in groups:
        is_best = best is not None and group.role == "student" and column.value(group) == best
        cells.append(Cell(column.text(group), is_best, column.interval(group)))
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
