"""Measures as charts show them."""

from __future__ import annotations

from collections.abc import Sequence

from distill.core.results import LOWER_IS_BETTER, MEASURES, SHARES, Group
from distill.core.verdict import format_measure


def full_name(measure: str) -> str:
    """Return a measure's name where it stands alone: `all` is clear only beside `seen`."""
    return "accuracy" if measure == "accuracy" else MEASURES[measure]


def axis_name(measure: str) -> str:
    """Return name, unit, and the better direction where it is not up."""
    is_share = measure in SHARES
    unit = ", %" if is_share else ""
    is_lower_better = measure in LOWER_IS_BETTER
    direction = " (lower is better)" if is_lower_better else ""
    name = full_name(measure)
    return name + unit + direction


def scale(measure: str) -> float:
    """Return what a measure is multiplied by: shares are drawn in percent."""
    is_share = measure in SHARES
    return 100.0 if is_share else 1.0


def format_group_measure(group: Group, measure: str) -> str:
    """Return mean and spread of a group, without a unit."""
    return format_measure(measure, group.mean(measure), group.spread(measure))


def describe(group: Group, measures: Sequence[str]) -> str:
    """Return a group in words: `combined: all 93.1 ± 0.4%, seen 95.0%`."""
    figures = []
    for measure in measures:
        name = MEASURES[measure] if len(measures) > 1 else ""
        is_share = measure in SHARES
        unit = "%" if is_share else ""
        figure = f"{name} {format_group_measure(group, measure)}{unit}"
        shown = figure.strip()
        figures.append(shown)
    return f"{group.name}: {', '.join(figures)}"


def describe_all(groups: Sequence[Group], measures: Sequence[str]) -> str:
    """Return groups in words, for those who do not see the chart."""
    return "; ".join(describe(group, measures) for group in groups)


def short_number(value: float) -> str:
    """Return `3k`, `1.5M`, `0.03`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
