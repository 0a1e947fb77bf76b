"""A student under other values of the same numbers: λ, a temperature, a width. One line for each
setting of everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distill.core.results import MEASURES, Evaluation, Group
from distill.stages.report.drawing import COLOURS, Chart, Mark, as_svg, log_x, new_axes
from distill.stages.report.groups import any_seeds, student_name
from distill.stages.report.learning_curves import row_paths
from distill.stages.report.measure import axis_name, describe_all, scale

_MOST_CHARTS = 4
_MOST_LINES = 6
_LOG_RATIO = 50  # from this ratio of the largest to the smallest value on, x is logarithmic
_DASHED = (0, (4, 2))


def draw_sweeps(evaluation: Evaluation) -> list[Chart]:
    """Draw a chart for each student and set of swept paths with two values of a number."""
    sweeps: dict[tuple[str, frozenset[str]], list[Group]] = {}
    for group in evaluation.students:
        paths = frozenset(group.changes)
        if paths and not row_paths(group) and group.mean(evaluation.main_measure) is not None:
            sweeps.setdefault((student_name(group), paths), []).append(group)
    charts: list[Chart] = []
    for (student, paths), groups in sweeps.items():
        path = _most_varied_number(groups, paths)
        if path is not None and len(charts) < _MOST_CHARTS:
            chart = _chart(evaluation, student, path, groups)
            charts.append(chart)
    return charts


def _most_varied_number(groups: Sequence[Group], paths: frozenset[str]) -> str | None:
    """Return the numeric path with the most values; None where none has two."""
    most = 1
    most_varied = None
    for path in sorted(paths):
        values = {group.changes[path] for group in groups}
        if len(values) > most and all(_is_number(value) for value in values):
            most = len(values)
            most_varied = path
    return most_varied


def _is_number(value: object) -> bool:
    # true and false are integers in Python
    return isinstance(value, int | float) and not isinstance(value, bool)


def _chart(evaluation: Evaluation, student: str, path: str, groups: Sequence[Group]) -> Chart:
    measures = [evaluation.main_measure]
    if "accuracy_unseen" in evaluation.shown:
        measures.append("accuracy_unseen")
    lines = _lines(groups, path)
    shown = dict(list(lines.items())[:_MOST_LINES])
    axes = new_axes(3.4, xlabel=path, ylabel=axis_name(measures[0]))
    for colour, line in zip(COLOURS, shown.values(), strict=False):
        for number, measure in enumerate(measures):
            _draw_line(axes, line, path, measure, colour=colour, dashed=number > 0)
    values = [float(group.changes[path]) for group in groups]
    low = min(values)
    high = max(values)
    # λ is often swept from 0, which no logarithmic axis has
    if low > 0 and high / low >= _LOG_RATIO:
        log_x(axes, low, high)
    title = f"{student} by {path}"
    drawn = [group for line in shown.values() for group in line]
    svg = as_svg(axes.figure, title=title, description=describe_all(drawn, measures))
    names = list(shown)
    legend = _legend(names, measures)
    caption = _caption(groups, len(shown), len(lines))
    return Chart(title=title, svg=svg, legend=legend, caption=caption)


def _lines(groups: Sequence[Group], path: str) -> Mapping[str, list[Group]]:
    """Return the groups by what else was changed, each line in the order of `path`."""
    lines: dict[str, list[Group]] = {}
    for group in sorted(groups, key=lambda group: float(group.changes[path])):
        others = [f"{key} = {value}" for key, value in group.changes.items() if key != path]
        lines.setdefault(", ".join(others), []).append(group)
    return lines


def _draw_line(
    axes: Any, groups: Sequence[Group], path: str, measure: str, *, colour: str, dashed: bool
) -> None:
    known = [group for group in groups if group.mean(measure) is not None]
    style = _DASHED if dashed else "-"
    axes.errorbar(
        [group.changes[path] for group in known],
        [(group.mean(measure) or 0) * scale(measure) for group in known],
        yerr=[(group.spread(measure) or 0) * scale(measure) for group in known],
        color=colour,
        linestyle=style,
        marker="o",
        markersize=4,
        linewidth=1.5,
        elinewidth=0.9,
        capsize=2,
    )


def _legend(names: Sequence[str], measures: Sequence[str]) -> list[Mark]:
    """Return a mark a line and one for the dashed measure; of a single line, a mark a measure."""
    if len(names) > 1:
        legend = [Mark(name, colour) for name, colour in zip(names, COLOURS, strict=False)]
        if len(measures) > 1:
            unseen = Mark("unseen", "currentColor", dashed=True)
            legend.append(unseen)
        return legend
    if len(measures) == 1:
        return []
    first, second = measures
    colour = COLOURS[0]
    return [Mark(MEASURES[first], colour), Mark(MEASURES[second], colour, dashed=True)]


def _caption(groups: Sequence[Group], shown: int, total: int) -> str:
    caption = "Bars: standard deviation over seeds. " if any_seeds(groups) else ""
    if shown < total:
        caption += f"{shown} of {total} lines shown."
    return caption
