"""Methods ranked on several data sets, and whether their average ranks differ by more than chance.

Friedman's test asks whether all methods are alike, and Nemenyi's which two of them are not (Demšar
2006, "Statistical comparisons of classifiers over multiple data sets", JMLR 7, §3.2). Both are
usually looked up in tables that hold for many data sets. Studies have five or ten, so here their
null distribution is drawn instead: were all methods alike, each order of a data set's ranks would
be as likely as any other. That is right for any number of data sets, with ties.

    statistic   Friedman's χ², corrected for ties
    p_value     share of drawn orders with a statistic as large, the observed one counted as one of
                them (Phipson & Smyth 2010)
    distance    the smallest distance of two average ranks that is reached by the *largest* distance
                of so few drawn orders as the level allows: all pairs are tested at once, as
                Nemenyi's critical difference does

Ranks of two methods depend on which others were ranked with them (Benavoli et al. 2016): beside
them a study says how often each beats each, which does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.core.intervals import LEVEL

Array = npt.NDArray[np.float64]

DRAWS = 20_000
_SEED = 20_060_101
_NUMBERS_AT_ONCE = 4_000_000
_ROUNDING = 1e-9  # sums of the same ranks in another order differ by less


@dataclass(frozen=True)
class RankTest:
    """What came of it, for k methods in their order."""

    average_ranks: tuple[float, ...]  # 1 is best
    statistic: float
    p_value: float
    # average ranks so far apart are told apart; None where no distance would be, since there are
    # too few data sets
    distance: float | None
    data_sets: int

    def told_apart(self, one: int, other: int) -> bool:
        """Return whether two methods are."""
        if self.distance is None:
            return False
        apart = abs(self.average_ranks[one] - self.average_ranks[other])
        return apart >= self.distance - _ROUNDING


def ranks(scores: Array) -> Array:
    """Return the rank of each score (N, k) in its line, 1 for the largest, the mean rank of equals."""
    larger = (scores[:, None, :] > scores[:, :, None]).sum(axis=2)
    equal = (scores[:, None, :] == scores[:, :, None]).sum(axis=2)
    found: Array = larger + (equal + 1) / 2
    return found


def rank_test(scores: Array, level: float = LEVEL) -> RankTest:
    """Test k methods by their scores (N, k) on N data sets, higher is better."""
    ranked = ranks(scores)
    averages = ranked.mean(axis=0)
    statistic = _spread(averages)
    drawn_averages = _drawn(ranked)
    as_large = _spread(drawn_averages) >= statistic - _ROUNDING
    p_value = (as_large.sum() + 1) / (DRAWS + 1)
    ranges = np.ptp(drawn_averages, axis=1)
    return RankTest(
        average_ranks=tuple(averages.tolist()),
        statistic=_friedman(ranked, float(statistic)),
        p_value=float(p_value),
        distance=_critical(ranges, level),
        data_sets=len(scores),
    )


def _drawn(ranked: Array) -> Array:
    """Return the average ranks (D, k) of drawn orders."""
    generator = np.random.default_rng(_SEED)
    fitting = _NUMBERS_AT_ONCE // ranked.size
    at_once = max(1, fitting)
    parts = []
    for start in range(0, DRAWS, at_once):
        left = DRAWS - start
        count = min(at_once, left)
        orders = np.broadcast_to(ranked, (count, *ranked.shape))
        parts.append(generator.permuted(orders, axis=2).mean(axis=1))
    return np.concatenate(parts)


def _spread(averages: Array) -> Array:
    """Return Σ (R − mean)² over methods: what Friedman's statistic is a multiple of."""
    methods = averages.shape[-1]
    spread: Array = np.square(averages - (methods + 1) / 2).sum(axis=-1)
    return spread


def _friedman(ranked: Array, spread: float) -> float:
    data_sets, methods = ranked.shape
    # the variance of ranks that are not tied is (k² − 1) / 12; ties make it smaller
    variance = float(np.square(ranked - (methods + 1) / 2).sum()) / (data_sets * (methods - 1))
    return data_sets * spread / variance if variance else 0.0


def _critical(ranges: Array, level: float) -> float | None:
    """Return the smallest range that no more drawn orders reach than the level leaves."""
    values, counts = np.unique(ranges.round(9), return_counts=True)
    reached = np.cumsum(counts[::-1])[::-1] / len(ranges)
    rare = values[reached <= 1 - level]
    return float(rare[0]) if len(rare) else None
