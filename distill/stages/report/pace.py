"""How fast methods are and what they cost a row, as the cells of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from distill.core.results import Evaluation, Group
from distill.stages.report.groups import select_groups, short_name
from distill.stages.report.measure import short_number

_MOST_GROUPS = 16


@dataclass(frozen=True)
class PaceLine:
    """One method."""

    name: str
    cells: Sequence[str]


def _milliseconds(name: str) -> Callable[[Mapping[str, float]], str]:
    def text(pace: Mapping[str, float]) -> str:
        if f"{name}_p50" not in pace:
            return "–"
        return f"{pace[f'{name}_p50']:.2g} / {pace[f'{name}_p99']:.2g}"

    return text


def _count(name: str) -> Callable[[Mapping[str, float]], str]:
    return lambda pace: short_number(pace[name]) if name in pace else "–"


_COLUMNS: dict[str, Callable[[Mapping[str, float]], str]] = {
    "rows a second ↑": _count("rows_per_second"),
    "ms a batch, p50 / p99 ↓": _milliseconds("batch_milliseconds"),
    "ms a single row, p50 / p99 ↓": _milliseconds("row_milliseconds"),
    "FLOPs a row ↓": _count("flops_per_row"),
    "bytes of weights ↓": _count("weight_bytes"),
    "bytes of a batch ↓": _count("batch_bytes"),
}


def pace_heads() -> list[str]:
    """Return the heads of the table."""
    return list(_COLUMNS)


def pace_lines(evaluation: Evaluation) -> list[PaceLine]:
    """Return a line a group, of its first seed; none where nothing was timed so."""
    groups = select_groups(evaluation, _MOST_GROUPS)
    return [_line(group) for group in groups if group.first.pace]


def _line(group: Group) -> PaceLine:
    pace = group.first.pace
    return PaceLine(short_name(group), [column(pace) for column in _COLUMNS.values()])
