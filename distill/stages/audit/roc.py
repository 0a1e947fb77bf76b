"""How well scores tell members from others: AUC, the ROC curve, and true positives at few false
ones, each with an interval.

Shapes: M members, N others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distill.core.audit_results import Rate
from distill.core.intervals import LEVEL, share_interval

Double = npt.NDArray[np.float64]

_LEAST_FALSE = 2
"""Others that a share of false positives must at least be: one alone is whichever row happens to
be the largest."""
_REPLICATES = 400
_POINTS = 80
"""Of a curve."""


def auc(members_M: Double, others_N: Double) -> tuple[float, float]:
    """Return the chance that a member's score is above another's, ties counted half, and its
    standard error (DeLong, DeLong & Clarke-Pearson 1988, by ranks as Sun & Xu 2014)."""
    members = len(members_M)
    others = len(others_N)
    ranks = _midranks(np.concatenate([members_M, others_N]))
    above_M = (ranks[:members] - _midranks(members_M)) / others
    above_N = 1 - (ranks[members:] - _midranks(others_N)) / members
    variance = above_M.var(ddof=1) / members + above_N.var(ddof=1) / others
    return float(above_M.mean()), math.sqrt(float(variance))


def _midranks(scores: Double) -> Double:
    """Return each score's rank from 1 on, of equal ones the mean."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle: Double = last - (counts - 1) / 2
    return middle[inverse]


def found_at(members_M: Double, others_N: Double, shares: Sequence[float]) -> Double:
    """Return the share of members above a threshold that no more than each share of others is
    above."""
    falling = np.sort(others_N)[::-1]
    allowed = np.floor(np.array(shares) * len(falling) + 1e-9).astype(np.int64)
    thresholds = falling[np.minimum(allowed, len(falling) - 1)]
    rising = np.sort(members_M)
    at_most = np.searchsorted(rising, thresholds, side="right")
    found: Double = 1 - at_most / len(rising)
    found[allowed >= len(falling)] = 1.0
    return found


def rates(members_M: Double, others_N: Double, shares: Sequence[float], seed: int) -> list[Rate]:
    """Return what is found at each share of false positives, with its interval: the percentiles of a
    bootstrap over both kinds of rows, since the threshold is drawn as well, and never narrower than
    Wilson's at the threshold found."""
    wide = [share for share in shares if share * len(others_N) >= _LEAST_FALSE]
    found = found_at(members_M, others_N, wide)
    ends = _percentiles(members_M, others_N, wide, seed)
    rows = len(members_M)
    results = []
    for share in shares:
        if share not in wide:
            least = math.ceil(_LEAST_FALSE / share)
            why = (
                f"{len(others_N):,} rows that did not teach are too few for it: {least:,} at least"
            )
            results.append(Rate(false_positives=share, found=None, why=why))
            continue
        number = wide.index(share)
        value = float(found[number])
        low, high = share_interval(value * rows, rows)
        low = min(low, float(ends[0, number]))
        high = max(high, float(ends[1, number]))
        results.append(Rate(false_positives=share, found=value, low=low, high=high))
    return results


def _percentiles(members_M: Double, others_N: Double, shares: Sequence[float], seed: int) -> Double:
    if not shares:
        return np.empty((2, 0))
    draw = np.random.default_rng(seed)
    drawn = [
        found_at(
            draw.choice(members_M, len(members_M)), draw.choice(others_N, len(others_N)), shares
        )
        for _ in range(_REPLICATES)
    ]
    tail = 100 * (1 - LEVEL) / 2
    ends: Double = np.percentile(np.array(drawn), [tail, 100 - tail], axis=0)
    return ends


def curve(members_M: Double, others_N: Double) -> list[tuple[float, float]]:
    """Return points of the ROC curve, denser where false positives are few."""
    least = 1 / len(others_N)
    shares = np.unique(np.append(np.geomspace(least, 1, _POINTS), 1.0))
    found = found_at(members_M, others_N, shares.tolist())
    return [(float(x), float(y)) for x, y in zip(shares, found, strict=True)]
