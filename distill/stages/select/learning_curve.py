"""What more labels would buy: a power law through the measures of former rounds.

    score(n) = a − b · n^(−c)        a ≤ 1, b ≥ 0, c > 0

fits accuracies over rows well from small sets on (Hestness et al. 2017; Rosenfeld et al. 2020).
For each c of a grid, a and b have a closed form; the c of the least squares is taken. The interval
is a parametric bootstrap (Efron & Tibshirani 1993, §6.5): the scores are drawn anew around the fit,
as far off as the larger of their own errors and the residuals, and the law is fitted to each draw.

A law through three points leaves no residual, so how far off a score may be must be known: of an
accuracy p over m rows it is √(p (1 − p) / m).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

LEAST_POINTS = 3
_POWERS = np.geomspace(0.02, 3.0, 60)
_FINER = np.geomspace(0.9, 1.0 / 0.9, 61)  # factors of the best power of the grid
_DRAWS = 500
_TAILS = (2.5, 97.5)  # percentiles at which the interval begins and ends


@dataclass(frozen=True)
class Gain:
    """What more rows buy, in points (hundredths of a share): at the best guess, and half of the
    interval that holds 95% of what the scores allow."""

    more_rows: int
    points: float
    margin: float

    @property
    def in_words(self) -> str:
        """The gain as a sentence says it."""
        return f"the next {self.more_rows:,} rows buy {self.points:.1f} ± {self.margin:.1f} points"


@dataclass(frozen=True)
class LearningCurve:
    """A fitted law, and those that other scores would have given."""

    rows: int  # the most that were measured
    law: Float64  # (3,): a, b, c
    drawn: Float64  # (D, 3)

    def score(self, rows: int) -> float:
        """Return the score that so many rows are expected to give."""
        return float(_scores(self.law, float(rows)))

    def gain(self, more_rows: int) -> Gain:
        """Return what `more_rows` beyond the most that were measured buy."""
        points = _gains(self.law, self.rows, more_rows)
        drawn = _gains(self.drawn, self.rows, more_rows)
        low, high = np.percentile(drawn, _TAILS)
        width = high - low
        margin = width / 2
        return Gain(more_rows, float(points), float(margin))


def fit_curve(
    rows: Sequence[int], scores: Sequence[float], errors: Sequence[float], seed: int = 0
) -> LearningCurve | None:
    """Fit the law to shares in 0..1 that so many rows gave, each with its standard error. None where
    there are too few points for it."""
    if len(set(rows)) < LEAST_POINTS:
        return None
    counts = np.asarray(rows, np.float64)
    measured = np.asarray(scores, np.float64)
    law = _fit(counts, measured[None])[0]
    fitted = _scores(law, counts)
    # three numbers are fitted, so three points leave no residual
    freedom = max(1, len(counts) - 3)
    squares = (measured - fitted) ** 2
    residual = np.sqrt(squares.sum() / freedom)
    spread = np.maximum(errors, residual)
    draw = np.random.default_rng(seed)
    noise = draw.normal(size=(_DRAWS, len(counts)))
    drawn = _fit(counts, fitted + spread * noise)
    most = int(counts.max())
    return LearningCurve(most, law, drawn)


def _fit(rows: Float64, scores: Float64) -> Float64:
    """The laws of the least squares of D sets of scores (D, n): a, b, c of each (D, 3)."""
    every = np.broadcast_to(_POWERS, (len(scores), len(_POWERS)))
    coarse = _best(rows, scores, every)
    return _best(rows, scores, coarse[:, 2:] * _FINER)


def _best(rows: Float64, scores: Float64, powers: Float64) -> Float64:
    """The best law of each set of scores (D, n) among those of its powers (D, P)."""
    power = rows[:, None] ** -powers[:, None]  # (D, n, P)
    score = scores[:, :, None]
    mean = power.mean(axis=1, keepdims=True)
    away = power - mean
    weighted = away * score
    together = weighted.sum(axis=1)
    squared = away**2
    alone = squared.sum(axis=1)
    slope = together / alone
    # more rows never cost accuracy, by this law
    scale = np.maximum(-slope, 0.0)
    mean_score = scores.mean(axis=1, keepdims=True)
    limit = mean_score + scale * mean[:, 0]
    # a share is never above 1: where it would be, the law goes through 1
    missing = ((1.0 - score) * power).sum(axis=1)
    through_one = missing / (power**2).sum(axis=1)
    scale = np.where(limit > 1.0, through_one, scale)
    limit = np.minimum(limit, 1.0)
    fitted = limit[:, None] - scale[:, None] * power
    residual = fitted - score
    squares = residual**2
    errors = squares.sum(axis=1)
    best = errors.argmin(axis=1)
    laws = np.stack([limit, scale, powers], axis=2)  # (D, P, 3)
    every = np.arange(len(scores))
    found: Float64 = laws[every, best]
    return found


def _scores(law: Float64, rows: Float64 | float) -> Float64:
    """What a law, or each of some, gives of so many rows."""
    limit, scale, power = np.moveaxis(law, -1, 0)
    found: Float64 = limit - scale * rows**-power
    return found


def _gains(law: Float64, rows: int, more_rows: int) -> Float64:
    """Points that more rows buy."""
    more = _scores(law, float(rows + more_rows))
    return 100.0 * (more - _scores(law, float(rows)))
