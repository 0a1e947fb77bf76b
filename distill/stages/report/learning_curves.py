"""How good students are by how many rows taught them: one chart a pool whose rows a `[sweep]` took
some of (`"rows.labelled" = [50, 100, 200]`), a line a student, and label sets as levels beside
them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distill.core.results import Evaluation, Group
from distill.stages.report.drawing import COLOURS, GREY, Chart, Mark, as_svg, log_x, new_axes
from distill.stages.report.figures import figure_of
from distill.stages.report.groups import clipped, student_name
from distill.stages.report.measure import axis_name, describe_all, scale

ROWS = "rows."  # what the paths begin with that say how many rows of a pool are taken
_MOST_LINES = len(COLOURS)
_MOST_LEVELS = 2
_LOG_RATIO = 4


def row_paths(group: Group) -> list[str]:
    """Return which of a group's changes are numbers of rows."""
    return [path for path in group.changes if path.startswith(ROWS)]


def draw_learning_curves(evaluation: Evaluation) -> list[Chart]:
    """Draw a chart for each pool of which students learned from different numbers of rows."""
    by_path: dict[str, list[Group]] = {}
    for group in evaluation.students:
        for path in row_paths(group):
            if group.mean(evaluation.main_measure) is not None:
                by_path.setdefault(path, []).append(group)
    charts = []
    for path, groups in by_path.items():
        if len({group.changes[path] for group in groups}) > 1:
            charts.append(_chart(evaluation, path, groups))
    return charts


def _chart(evaluation: Evaluation, path: str, groups: Sequence[Group]) -> Chart:
    measure = evaluation.main_measure
    pool = path.removeprefix(ROWS)
    lines = _lines(groups, path)
    shown = dict(list(lines.items())[:_MOST_LINES])
    axes = new_axes(3.4, xlabel=f"rows of {pool}", ylabel=axis_name(measure))
    for colour, line in zip(COLOURS, shown.values(), strict=False):
        _draw_line(axes, evaluation, line, path, colour)
    levels = [group for group in evaluation.groups if group.role != "student"][:_MOST_LEVELS]
    levels = [group for group in levels if group.mean(measure) is not None]
    for group in levels:
        level = (group.mean(measure) or 0) * scale(measure)
        axes.axhline(level, color=GREY, linestyle=(0, (4, 2)), linewidth=1.2)
    counts = [int(group.changes[path]) for group in groups]
    if max(counts) / min(counts) >= _LOG_RATIO:
        log_x(axes, min(counts), max(counts))
    title = f"By rows of {pool}"
    drawn = [group for line in shown.values() for group in line]
    svg = as_svg(axes.figure, title=title, description=describe_all(drawn, [measure]))
    legend = [Mark(name, colour) for name, colour in zip(shown, COLOURS, strict=False)]
    legend += [Mark(clipped(group.name, 30), GREY, dashed=True) for group in levels]
    return Chart(title=title, svg=svg, legend=legend, caption=_caption(evaluation, shown, lines))


def _caption(
    evaluation: Evaluation,
    shown: Mapping[str, Sequence[Group]],
    lines: Mapping[str, Sequence[Group]],
) -> str:
    caption = (
        f"Bars: {evaluation.level:.0%} intervals, of the draw of test rows and, over seeds, of the"
        " rows that were taken and the training. Fewer rows are a part of more."
    )
    more = len(lines) - len(shown)
    return f"{caption} {more} more lines are in evaluation.json." if more else caption


def _lines(groups: Sequence[Group], path: str) -> Mapping[str, list[Group]]:
    """Return the groups by student and whatever else was changed, each line by rising rows."""
    lines: dict[str, list[Group]] = {}
    for group in sorted(groups, key=lambda group: int(group.changes[path])):
        others = [f"{key} = {value}" for key, value in group.changes.items() if key != path]
        name = ", ".join([student_name(group), *others])
        lines.setdefault(clipped(name, 60), []).append(group)
    return lines


def _draw_line(
    axes: Any, evaluation: Evaluation, groups: Sequence[Group], path: str, colour: str
) -> None:
    measure = evaluation.main_measure
    unit = scale(measure)
    figures = [figure_of(group, measure, evaluation.level) for group in groups]
    values = [figure.value for figure in figures]
    lows = [figure.value if figure.low is None else figure.low for figure in figures]
    highs = [figure.value if figure.high is None else figure.high for figure in figures]
    below = [(value - low) * unit for value, low in zip(values, lows, strict=True)]
    above = [(high - value) * unit for value, high in zip(values, highs, strict=True)]
    axes.errorbar(
        [int(group.changes[path]) for group in groups],
        [value * unit for value in values],
        yerr=[below, above],
        color=colour,
        marker="o",
        markersize=4,
        linewidth=1.5,
        elinewidth=0.9,
        capsize=2,
    )
