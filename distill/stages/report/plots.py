"""The charts of a report, each drawn only where its data is there: who is how good, at what cost,
how sure, how learned, how confused.

A chart never shows more than can be read; its caption says what was left out. Every chart has its
figures in words beside it.
"""

from __future__ import annotations

from distill.core.results import Evaluation, GroupKey
from distill.stages.report.comparison import draw_comparison
from distill.stages.report.confusion import draw_confusions
from distill.stages.report.cost import draw_cost
from distill.stages.report.curves import draw_curves
from distill.stages.report.drawing import COLOURS, Chart, house_style
from distill.stages.report.groups import select_groups
from distill.stages.report.learning_curves import draw_learning_curves
from distill.stages.report.reliability import draw_reliability
from distill.stages.report.sweeps import draw_sweeps


def draw_charts(evaluation: Evaluation) -> list[Chart]:
    """Draw all charts that the evaluation has data for, in the order of the page."""
    colours = _colours(evaluation)
    with house_style():
        charts = [
            draw_comparison(evaluation),
            draw_cost(evaluation, colours),
            *draw_learning_curves(evaluation),
            *draw_sweeps(evaluation),
            draw_reliability(evaluation, colours),
            draw_curves(evaluation),
            *draw_confusions(evaluation),
        ]
    return [chart for chart in charts if chart is not None]


def _colours(evaluation: Evaluation) -> dict[GroupKey, str]:
    """Return one colour a group, the same in every chart; groups beyond them are grey."""
    limit = len(COLOURS)
    groups = select_groups(evaluation, limit)
    return {group.key: colour for group, colour in zip(groups, COLOURS, strict=False)}
