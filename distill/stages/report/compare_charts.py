"""The charts of a study: average ranks, and every data set's figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distill.core.study import Figure, Study, StudyMethod
from distill.stages.report.drawing import (
    COLOURS,
    GREY,
    Chart,
    as_svg,
    few_ticks,
    house_style,
    new_axes,
    new_figure,
)
from distill.stages.report.groups import clipped
from distill.stages.report.measure import axis_name, scale

_MOST_METHODS = 14
_MOST_PANELS = 12
_PANELS_ACROSS = 2
_NAME_CHARACTERS = 26
_LINE_INCHES = 0.26


def draw_study(study: Study) -> list[Chart]:
    """Draw the charts that the study has data for."""
    with house_style():
        charts = [_draw_ranks(study), _draw_panels(study)]
    return [chart for chart in charts if chart is not None]


def _draw_ranks(study: Study) -> Chart | None:
    test = study.test
    if test is None:
        return None
    by_rank = sorted(zip(test.average_ranks, study.ranked, strict=True), key=lambda each: each[0])
    shown = by_rank[:_MOST_METHODS]
    axes = new_axes(0.8 + _LINE_INCHES * len(shown), xlabel="average rank, 1 is best", ylabel="")
    reach = None if test.distance is None else test.distance / 2
    for line, (rank, _) in enumerate(shown):
        axes.errorbar(rank, -line, xerr=reach, fmt="o", color=COLOURS[0], markersize=5, capsize=2)
    _name_lines(axes, [method for _, method in shown])
    few_ticks(axes.xaxis, 6)
    told = "; ".join(f"{method.name}: {rank:.2f}" for rank, method in shown)
    caption = (
        "Bars that do not overlap belong to methods that are told apart."
        if reach is not None
        else f"{test.data_sets} data sets are too few to tell any two apart by ranks."
    )
    if len(shown) < len(by_rank):
        caption += f" The {len(shown)} best of {len(by_rank)}."
    title = "Average ranks"
    svg = as_svg(axes.figure, title=title, description=f"{title}: {told}")
    return Chart(title=title, svg=svg, caption=caption)


def _draw_panels(study: Study) -> Chart | None:
    methods = study.listed[:_MOST_METHODS]
    panels = study.data_sets[:_MOST_PANELS]
    down = -(-len(panels) // _PANELS_ACROSS)
    height = down * (0.9 + 0.2 * len(methods))
    figure = new_figure(height)
    grid = figure.subplots(down, _PANELS_ACROSS, squeeze=False, sharey=True)
    flat = list(grid.flat)
    for number, data_set in enumerate(panels):
        axes = flat[number]
        axes.set_title(clipped(data_set.name, _NAME_CHARACTERS))
        axes.set_xlabel(axis_name(data_set.measure))
        _draw_figures(axes, methods, number, scale(data_set.measure))
        few_ticks(axes.xaxis, 4)
    for axes in flat[len(panels) :]:
        axes.set_axis_off()
    _name_lines(flat[0], methods)
    title = "Each data set"
    svg = as_svg(figure, title=title, description="The figures of the table above, as dots.")
    caption = "Bars: intervals, of the draw of test rows and of seeds. Grey: who does not compete."
    left_out = len(study.methods) - len(methods)
    if left_out or len(panels) < len(study.data_sets):
        caption += f" {left_out} methods and {len(study.data_sets) - len(panels)} data sets more."
    return Chart(title=title, svg=svg, caption=caption)


def _draw_figures(axes: Any, methods: Sequence[StudyMethod], number: int, unit: float) -> None:
    for line, method in enumerate(methods):
        figure = method.figures[number]
        if figure is None:
            continue
        colour = COLOURS[0] if method.role == "student" else GREY
        axes.errorbar(
            figure.value * unit,
            -line,
            xerr=_reaches(figure, unit),
            fmt="o",
            color=colour,
            markersize=3.5,
            elinewidth=0.9,
            capsize=1.5,
        )


def _reaches(figure: Figure, unit: float) -> list[list[float]] | None:
    """How far an interval reaches to the left and to the right."""
    if figure.low is None or figure.high is None:
        return None
    return [[(figure.value - figure.low) * unit], [(figure.high - figure.value) * unit]]


def _name_lines(axes: Any, methods: Sequence[StudyMethod]) -> None:
    places = [-line for line in range(len(methods))]
    names = [clipped(method.name, _NAME_CHARACTERS) for method in methods]
    axes.set_yticks(places, names)
    axes.set_ylim(-len(methods) + 0.4, 0.6)
