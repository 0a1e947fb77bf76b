"""A student under other values of the same numbers: λ, a temperature, a width. One line for each
setting of everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distill.core.results import MEASURES, Evaluation, Group
from distill.stages.report.drawing import COLOURS, Chart, Mark, as_svg, log_x, new_axes
from distill.stages.report.groups import student_name
from distill.stages.report.measure import axis_name, scale, told

_CHARTS, _LINES = 4, 6
_LOG_RATIO = 50
_SEED = "seed"
_DASHED = (0, (4, 2))


def draw_sweeps(evaluation: Evaluation) -> list[Chart]:
    """One chart for each student and set of swept paths, where a number takes two values or more."""
    swept: dict[tuple[str, frozenset[str]], list[Group]] = {}
    for group in evaluation.groups:
        paths = frozenset(_changes(group))
        if group.role == "student" and paths and group.mean(evaluation.main_measure) is not None:
            swept.setdefault((student_name(group), paths), []).append(group)
    drawn = [
        _chart(evaluation, student, path, groups)
        for (student, paths), groups in swept.items()
        if (path := _widest(groups, paths)) is not None
    ]
    return drawn[:_CHARTS]


def _changes(group: Group) -> Mapping[str, Any]:
    return {path: value for path, value in group.methods[0].changes.items() if path != _SEED}


def _widest(groups: Sequence[Group], paths: frozenset[str]) -> str | None:
    """The numeric path with the most values."""
    numeric = {
        path: len({_changes(group)[path] for group in groups})
        for path in sorted(paths)
        if all(_is_number(_changes(group)[path]) for group in groups)
    }
    path = max(numeric, key=lambda path: numeric[path], default=None)
    return path if path is not None and numeric[path] > 1 else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _chart(evaluation: Evaluation, student: str, path: str, groups: Sequence[Group]) -> Chart:
    lines: dict[str, list[Group]] = {}
    for group in sorted(groups, key=lambda group: float(_changes(group)[path])):
        rest = ", ".join(
            f"{other} = {value}" for other, value in _changes(group).items() if other != path
        )
        lines.setdefault(rest, []).append(group)
    shown = list(lines.items())[:_LINES]
    measures = [
        evaluation.main_measure,
        *["accuracy_unseen"] * ("accuracy_unseen" in evaluation.shown),
    ]
    axes = new_axes(3.4, xlabel=path, ylabel=axis_name(measures[0]))
    for colour, (_, line) in zip(COLOURS, shown, strict=False):
        for number, measure in enumerate(measures):
            _line(axes, line, path, measure, colour=colour, dashed=number > 0)
    values = sorted({float(_changes(group)[path]) for group in groups})
    if values[0] > 0 and values[-1] / values[0] >= _LOG_RATIO:
        log_x(axes, values[0], values[-1])
    title = f"{student} by {path}"
    return Chart(
        title=title,
        svg=as_svg(
            axes.figure,
            title=title,
            told="; ".join(told(group, measures) for _, line in shown for group in line),
        ),
        legend=_legend([name for name, _ in shown], measures),
        caption=_caption(groups, len(shown), len(lines)),
    )


def _line(
    axes: Any, groups: Sequence[Group], path: str, measure: str, *, colour: str, dashed: bool
) -> None:
    known = [group for group in groups if group.mean(measure) is not None]
    axes.errorbar(
        [_changes(group)[path] for group in known],
        [(group.mean(measure) or 0) * scale(measure) for group in known],
        yerr=[(group.spread(measure) or 0) * scale(measure) for group in known],
        color=colour,
        linestyle=_DASHED if dashed else "-",
        marker="o",
        markersize=4,
        linewidth=1.5,
        elinewidth=0.9,
        capsize=2,
    )


def _legend(names: Sequence[str], measures: Sequence[str]) -> list[Mark]:
    if len(names) == 1:
        colour = COLOURS[0]
        return [
            Mark(MEASURES[measure], colour, number > 0) for number, measure in enumerate(measures)
        ] * (len(measures) > 1)
    return [Mark(name, colour) for name, colour in zip(names, COLOURS, strict=False)] + [
        Mark("unseen", "currentColor", True)
    ] * (len(measures) > 1)


def _caption(groups: Sequence[Group], shown: int, total: int) -> str:
    bars = "Bars: standard deviation over seeds. " * any(len(group.methods) > 1 for group in groups)
    return bars + f"{shown} of {total} lines shown." * (shown < total)
