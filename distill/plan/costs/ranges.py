"""From what some fragments took to the range in which all the others lie.

The fragments were drawn so that each row has the same chance (`sampling`), so the mean of their
cost a row, over what is left, is the estimate. Its range is Student's t at 98%, for the mean of
those that are left and not of all that could be, moved up where the sample is skewed (Johnson
1978): costs have a long tail upwards. That is meant to hold 95%: of pools whose fragments differ
lognormally by σ = 0.2, 0.5 and 0.8, 16 fragments held the truth in 98.5, 97 and 95.5% of 3,000
trials, 8 fragments in 98, 97 and 94%; t at 95% held 95.5, 94.5 and 92%. What no fragment of a pilot
has met no range knows of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from distill.core.costs import Range

# two-sided 98% of Student's t, by degrees of freedom from 1 on
# fmt: off
_T98 = (
    31.821, 6.965, 4.541, 3.747, 3.365, 3.143, 2.998, 2.896, 2.821, 2.764,
    2.718, 2.681, 2.650, 2.624, 2.602, 2.583, 2.567, 2.552, 2.539, 2.528,
    2.518, 2.508, 2.500, 2.492, 2.485, 2.479, 2.473, 2.467, 2.462, 2.457,
)
# fmt: on
_NORMAL98 = 2.326
# the third moment of a few numbers is mostly chance
_MOST_SKEWED = 3.0
_LEAST_HALF = 0.01  # of the mean: fragments that are all alike do not say that the others are
# in which a new process loads libraries, at the most (torch: 2 to 4 s on an idle machine). The
# pilot's own may have had them.
COLD_SECONDS = 15.0
ALONE = 2.0  # the factor about a single fragment's cost, which says nothing of a spread


def total_range(per_row: Sequence[float], rows: int, fragments: int) -> Range:
    """Return what `rows` rows in `fragments` fragments take, where others took `per_row`."""
    if not rows:
        return Range(0.0, 0.0)
    costs = np.asarray(per_row, np.float64)
    known = len(costs)
    mean = float(costs.mean())
    if known == 1:
        alone = Range(mean / ALONE, mean * ALONE)
        return alone.times(rows)
    deviation = costs.std(ddof=1)
    spread = float(deviation)
    freedom = known - 1
    t = t98(freedom)
    # of a mean that is predicted: those that are left are themselves few
    share = 1 / known + 1 / max(1, fragments)
    half = max(t * spread * math.sqrt(share), _LEAST_HALF * mean)
    # no fragment is free, however far a few of them differ
    least = float(costs.min()) / ALONE
    low = max(mean - half, least)
    high = mean + half + _skew_shift(costs, spread, t)
    a_row = Range(low, high)
    return a_row.times(rows)


def t98(freedom: int) -> float:
    """Return the two-sided 98% point of Student's t."""
    if freedom <= len(_T98):
        return _T98[freedom - 1]
    # Cornish and Fisher's expansion, within 0.001 from 31 on
    z = _NORMAL98
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


def _skew_shift(costs: np.ndarray, spread: float, t: float) -> float:
    """By how much a tail upwards moves the upper end."""
    if not spread:
        return 0.0
    mean = costs.mean()
    apart = costs - mean
    third = float((apart**3).mean())
    skewness = third / float(costs.std()) ** 3
    # downwards nothing is moved: a range may be too wide there, and not too narrow
    tail = max(skewness, 0.0)
    upwards = min(tail, _MOST_SKEWED)
    share = (1 + 2 * t * t) / (6 * len(costs))
    return upwards * spread * share
