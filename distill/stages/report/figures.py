"""A method's figure with an interval that holds both what rows and what seeds may change."""

from __future__ import annotations

import math

from distill.core.intervals import t_of
from distill.core.results import SHARES, Group
from distill.core.study import Figure


def figure_of(group: Group, measure: str, level: float) -> Figure:
    """Return the mean over a group's seeds, which has the measure. Its interval adds, as squares, how
    far the draw of the test rows reaches and how far that of the seeds does."""
    value = group.mean(measure)
    assert value is not None
    seeds = len(group.methods)
    spread = group.spread(measure)
    of_seeds = seed_reach(spread, seeds, level)
    rows = group.interval(measure)
    low: float | None = None
    high: float | None = None
    if rows is not None:
        low = value - math.hypot(value - rows[0], of_seeds)
        high = value + math.hypot(rows[1] - value, of_seeds)
    elif of_seeds:
        low = value - of_seeds
        high = value + of_seeds
    if measure in SHARES and low is not None and high is not None:
        # of few seeds t reaches far beyond what a share can be
        low = max(0.0, low)
        high = min(1.0, high)
    return Figure(value=value, low=low, high=high, seeds=seeds, spread=spread)


def seed_reach(spread: float | None, seeds: int, level: float) -> float:
    """Return how far a mean over seeds reaches to either side, by Student's t; 0 of a single one."""
    if spread is None:
        return 0.0
    return t_of(level, seeds - 1) * spread / math.sqrt(seeds)
