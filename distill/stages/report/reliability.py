"""How sure a group is, and how often it is right where it is that sure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill.core.results import Evaluation, Group, GroupKey
from distill.stages.report.drawing import GREY, MARKERS, Chart, Mark, as_svg, new_axes
from distill.stages.report.groups import any_seeds, select_groups, selection_note, short_name
from distill.stages.report.measure import describe_all

_MOST_GROUPS = 6


def draw_reliability(evaluation: Evaluation, colours: Mapping[GroupKey, str]) -> Chart | None:
    """Draw one line a group; None where no method has calibration bins."""
    selected = select_groups(evaluation, _MOST_GROUPS)
    groups = [group for group in selected if group.first.reliability]
    if not groups:
        return None
    axes = new_axes(4.2, xlabel="confidence, %", ylabel="accuracy, %")
    axes.plot([0, 100], [0, 100], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    for group in groups:
        colour = colours[group.key]
        _draw_line(axes, group, colour)
    axes.set_xlim(-2, 102)
    axes.set_ylim(-2, 102)
    title = "How far confidence can be trusted"
    measures = ["calibration_error"]
    errors = describe_all(groups, measures)
    description = f"Accuracy by confidence; expected calibration error: {errors}"
    first_seed = "First seed of each. " if any_seeds(groups) else ""
    return Chart(
        title=title,
        svg=as_svg(axes.figure, title=title, description=description),
        legend=[Mark(short_name(group), colours[group.key]) for group in groups],
        caption=(
            "On the dashed line, confidence is right; below it, too high."
            f" {first_seed}{selection_note(evaluation, groups)}"
        ),
    )


def _draw_line(axes: Any, group: Group, colour: str) -> None:
    bins = group.first.reliability
    axes.plot(
        [100 * each["confidence"] for each in bins],
        [100 * each["accuracy"] for each in bins],
        color=colour,
        marker=MARKERS.get(group.role, "o"),
        markersize=4,
        linewidth=1.4,
    )
