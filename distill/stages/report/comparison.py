"""Who is how good: one bar a group and measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distill.core.results import MEASURES, SHARES, Evaluation, Group
from distill.core.verdict import format_measure
from distill.stages.report.drawing import COLOURS, Chart, Mark, as_svg, new_axes
from distill.stages.report.groups import select_groups, selection_note, short_name
from distill.stages.report.measure import axis_name, describe_all, scale

_MOST_GROUPS = 12
_SPLIT = ("accuracy", "accuracy_seen", "accuracy_unseen")
_BARS_HEIGHT = 0.78  # what a group's bars fill of its row


def draw_comparison(evaluation: Evaluation) -> Chart | None:
    """Draw the selected groups; None where none has the main measure."""
    main = evaluation.main_measure
    selected = select_groups(evaluation, _MOST_GROUPS)
    groups = [group for group in selected if group.mean(main) is not None]
    if not groups:
        return None
    measures = _SPLIT if "accuracy_unseen" in evaluation.shown else (main,)
    axes = _axes(groups, measures)
    axis = axis_name(main)
    title = f"Comparison by {axis}"
    legend: Sequence[Mark] = ()
    if len(measures) > 1:
        title = "All, seen and unseen classes"
        names = [MEASURES[measure] for measure in measures]
        # there are more colours than measures
        legend = [Mark(name, colour) for name, colour in zip(names, COLOURS, strict=False)]
    description = describe_all(groups, measures)
    return Chart(
        title=title,
        svg=as_svg(axes.figure, title=title, description=description),
        legend=legend,
        caption=_paler_note(groups) + selection_note(evaluation, groups),
    )


def _axes(groups: Sequence[Group], measures: Sequence[str]) -> Any:
    row_inches = 0.16 * len(measures) + 0.14
    height = 0.7 + len(groups) * row_inches
    axes = new_axes(height, xlabel=axis_name(measures[0]), ylabel="")
    for number, measure in enumerate(measures):
        total = len(measures)
        _draw_bars(axes, groups, measure, number, total)
    names = [short_name(group, between="\n", characters=30) for group in groups]
    axes.set_yticks(range(len(groups)), names, fontsize=8)
    # from above downwards, in the order of the job
    axes.set_ylim(len(groups) - 0.45, -0.55)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    spine = axes.spines["left"]
    spine.set_visible(False)
    longest = max(text.xy[0] for text in axes.texts)
    right = longest * 1.14 or 1
    axes.set_xlim(0, right)  # room for the figures at the ends of the bars
    if measures[0] in SHARES:
        percents = range(0, 101, 20)
        axes.set_xticks(percents)
    return axes


def _paler_note(groups: Sequence[Group]) -> str:
    are_students = {group.role == "student" for group in groups}
    return "Paler: not students. " if len(are_students) > 1 else ""


def _draw_bars(axes: Any, groups: Sequence[Group], measure: str, number: int, total: int) -> None:
    """Draw one bar a group, the `number`-th of `total` beside each other."""
    height = _BARS_HEIGHT / total
    offset = (number - (total - 1) / 2) * height
    for row, group in enumerate(groups):
        if group.mean(measure) is not None:
            y = row + offset
            _draw_bar(axes, group, measure, y, colour=COLOURS[number], height=height)


def _draw_bar(
    axes: Any, group: Group, measure: str, y: float, *, colour: str, height: float
) -> None:
    """Draw one bar with its spread, and its figure at the end."""
    mean = group.mean(measure)
    spread = group.spread(measure)
    assert mean is not None
    factor = scale(measure)
    length = mean * factor
    half_width = (spread or 0) * scale(measure)
    is_student = group.role == "student"
    alpha = 1 if is_student else 0.6
    axes.barh(y, length, height * 0.88, color=colour, alpha=alpha)
    if spread is not None:
        label_colour = axes.xaxis.label.get_color()
        axes.errorbar(
            length, y, xerr=half_width, fmt="none", ecolor=label_colour, elinewidth=0.8, capsize=1.5
        )
    axes.annotate(
        format_measure(measure, mean),
        (length + half_width, y),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        fontsize=7.5,
    )
