"""How good a group is at what cost: against parameters, or against time where sizes say nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distill.core.results import Evaluation, Group, GroupKey
from distill.stages.report.drawing import GREY, MARKERS, Chart, Mark, as_svg, log_x, new_axes
from distill.stages.report.groups import short_name
from distill.stages.report.measure import axis_name, describe, full_name, scale

_PARAMETERS = "parameters"
_MILLISECONDS = "ms/row"


def draw_cost(evaluation: Evaluation, colours: Mapping[GroupKey, str]) -> Chart | None:
    """Draw one point a group; None where fewer than two have a cost."""
    measure = evaluation.main_measure
    groups = [group for group in evaluation.groups if group.mean(measure) is not None]
    cost = _telling_cost(groups)
    points = [group for group in groups if _amount(group, cost) > 0]
    if len(points) < 2:
        return None
    axes = new_axes(3.6, xlabel=f"{cost} (log)", ylabel=axis_name(measure))
    amounts = [_amount(group, cost) for group in points]
    log_x(axes, min(amounts), max(amounts))
    axes.margins(0.12)
    # those with a colour last, so that they lie above the grey ones
    for group in sorted(points, key=lambda group: group.key in colours):
        _draw_point(axes, group, measure, cost, colours.get(group.key, GREY))
    name = full_name(measure)
    title = f"{name[0].upper()}{name[1:]} against {cost}"
    described = [_describe(group, measure, cost) for group in points]
    missing = len(groups) - len(points)
    caption = f"{missing} without a known number of parameters are not shown." if missing else ""
    svg = as_svg(axes.figure, title=title, description="; ".join(described))
    return Chart(title=title, svg=svg, legend=_legend(points, colours), caption=caption)


def _telling_cost(groups: Sequence[Group]) -> str:
    """Return the cost by which groups differ."""
    sizes = {group.first.parameters for group in groups if group.first.parameters}
    return _PARAMETERS if len(sizes) > 1 else _MILLISECONDS


def _amount(group: Group, cost: str) -> float:
    if cost == _PARAMETERS:
        # unknown is 0, which a logarithmic axis has no place for: the group is left out
        parameters = group.first.parameters
        return float(parameters or 0)
    return group.first.milliseconds_per_row


def _describe(group: Group, measure: str, cost: str) -> str:
    return f"{describe(group, [measure])} at {_amount(group, cost):,.4g} {cost}"


def _legend(points: Sequence[Group], colours: Mapping[GroupKey, str]) -> list[Mark]:
    coloured = [group for group in points if group.key in colours]
    legend = [Mark(short_name(group), colours[group.key]) for group in coloured]
    others = len(points) - len(coloured)
    if others:
        legend.append(Mark(f"{others} others", GREY))
    return legend


def _draw_point(axes: Any, group: Group, measure: str, cost: str, colour: str) -> None:
    mean = group.mean(measure)
    spread = group.spread(measure)
    assert mean is not None
    error = None if spread is None else spread * scale(measure)
    is_grey = colour == GREY
    size = 5 if is_grey else 8
    axes.errorbar(
        _amount(group, cost),
        mean * scale(measure),
        yerr=error,
        fmt=MARKERS.get(group.role, "o"),
        color=colour,
        markersize=size,
        elinewidth=1,
        alpha=0.9,
    )
