from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from distill.core.intervals import (
    difference_interval,
    mcnemar,
    mean_interval,
    one_sided,
    rank_interval,
    share_interval,
    t_of,
)

SETS = 1_000


@pytest.mark.parametrize(("count", "rows"), [(0, 10), (3, 10), (10, 10), (190, 200), (1, 3)])
@pytest.mark.parametrize("corrected", [False, True])
def test_a_share_has_another_interval_than_scipys(count, rows, corrected):
    method = "wilsoncc" if corrected else "wilson"
    due = stats.binomtest(count, rows).proportion_ci(0.95, method)
    made = share_interval(count, rows, corrected=corrected)
    assert made == pytest.approx((due.low, due.high), abs=1e-9)


def test_no_rows_tell_a_share():
    assert share_interval(0, 0) == (0.0, 1.0)
    assert difference_interval(0, 0, 0) == (-1.0, 1.0)
    low, high = mean_interval(1.0, 1.0, 1)
    assert (low, high) == (-np.inf, np.inf)


@pytest.mark.parametrize("freedom", [3, 8, 30, 1_000])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_students_quantile_differs_from_scipys(freedom, level):
    due = stats.t.ppf((1 + level) / 2, freedom)
    assert t_of(level, freedom) == pytest.approx(due, rel=0.02 if freedom < 8 else 0.002)


def test_a_mean_has_another_interval_than_scipys():
    values = np.random.default_rng(0).exponential(size=40)
    due = stats.t.interval(0.9, 39, values.mean(), stats.sem(values))
    made = mean_interval(values.sum(), np.square(values).sum(), 40, 0.9)
    assert made == pytest.approx(due, rel=1e-3)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (3, 9), (40, 12), (700, 640), (9, 9)])
def test_mcnemars_p_differs_from_the_exact_one(gained, lost):
    due = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(due)


def test_mcnemars_p_jumps_where_it_is_no_longer_exact():
    exact = stats.binomtest(1_060, 2_100).pvalue
    assert mcnemar(1_060, 1_040) == pytest.approx(exact, rel=0.01)


def test_a_perfect_order_has_a_width():
    low, high = rank_interval(0.8, 103)
    due = np.tanh(np.arctanh(0.8) + np.array([-1, 1]) * 1.959964 * np.sqrt(1.06 / 100))
    assert (low, high) == pytest.approx(tuple(due))
    assert rank_interval(0.3, 2) == (-1.0, 1.0)


@pytest.mark.parametrize("rows", [4, 10, 30, 1_000])
def test_a_perfect_order_has_an_interval_without_a_width(rows):
    low, high = rank_interval(1.0, rows)
    assert high == 1.0
    assert low < 1 - 12 / (rows**3 - rows)  # two neighbours of other rows may stand the other way
    assert rank_interval(-1.0, rows) == (-1.0, -low)
    nearly, _ = rank_interval(0.999, rows)
    assert nearly <= low


def test_orders_of_few_rows_are_perfect_by_chance_and_their_interval_does_not_say_so():
    # of draws whose true rank correlation is 0.9, the interval of 8 rows holds it nearly always
    random = np.random.default_rng(1)
    rho = 2 * math.sin(math.pi * 0.9 / 6)
    missed = perfect = 0
    for _ in range(2_000):
        one = random.normal(size=8)
        other = rho * one + math.sqrt(1 - rho * rho) * random.normal(size=8)
        found = float(np.corrcoef(one.argsort().argsort(), other.argsort().argsort())[0, 1])
        perfect += found > 1 - 1e-9
        low, high = rank_interval(min(found, 1.0), 8)
        missed += not low <= 0.9 <= high
    assert perfect > 20
    assert missed < 0.08 * 2_000


def covered(intervals, truth):
    low, high = np.array(intervals).T
    return np.mean((low <= truth) & (truth <= high))


@pytest.mark.parametrize("share", [0.7, 0.9, 0.97])
def test_a_bound_of_the_gate_holds_less_often_than_it_says(share):
    draws = np.random.default_rng(0).binomial(100, share, size=SETS)
    level = one_sided(0.95)
    low = [share_interval(count, 100, level, corrected=True)[0] for count in draws.tolist()]
    assert np.mean(np.array(low) <= share) >= 0.945


def test_a_difference_is_outside_of_its_interval_too_often():
    draws = np.random.default_rng(1).multinomial(200, [0.08, 0.05, 0.87], size=SETS)
    intervals = [difference_interval(gained, lost, 200) for gained, lost, _ in draws.tolist()]
    assert 0.93 <= covered(intervals, 0.03) <= 0.98


@pytest.mark.parametrize("rows", [30, 100, 500])
@pytest.mark.parametrize(("gained", "lost"), [(0, 1), (0, 2), (0, 3), (1, 3), (5, 5), (0, 9)])
def test_a_bound_on_a_difference_holds_less_often_than_it_says(rows, gained, lost):
    """Of few rows that differ above all: none seen is not none there."""
    shares = [gained / rows, lost / rows, 1 - (gained + lost) / rows]
    draws = np.random.default_rng(2).multinomial(rows, shares, size=4 * SETS)
    seen, times = np.unique(draws[:, :2], axis=0, return_counts=True)
    level = one_sided(0.95)
    false = 0
    for (more, less), count in zip(seen.tolist(), times.tolist(), strict=True):
        low, high = difference_interval(more, less, rows, level, corrected=True)
        mirrored = difference_interval(less, more, rows, level, corrected=True)
        assert mirrored == pytest.approx((-high, -low))
        false += count * (low > (gained - lost) / rows)
    assert false / (4 * SETS) <= 0.055


def test_a_corrected_difference_of_all_rows_is_no_number():
    assert difference_interval(30, 0, 30, corrected=True)[1] == 1.0
    assert difference_interval(0, 30, 30, corrected=True)[0] == -1.0
    assert difference_interval(0, 0, 0, corrected=True) == (-1.0, 1.0)
