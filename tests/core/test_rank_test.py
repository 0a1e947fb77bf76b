from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from distill.core.rank_test import rank_test, ranks


def test_ranks_and_statistic_are_scipys_ties_included():
    scores = np.random.default_rng(1).integers(0, 6, (12, 5)).astype(float)
    expected = np.stack([stats.rankdata(-line) for line in scores])
    np.testing.assert_array_equal(ranks(scores), expected)
    found = rank_test(scores)
    oracle = stats.friedmanchisquare(*scores.T)
    assert found.statistic == pytest.approx(oracle.statistic, rel=1e-9)


def test_with_many_data_sets_it_says_what_the_tables_say():
    random = np.random.default_rng(2)
    scores = random.normal(size=(60, 4)) + np.array([0.0, 0.1, 0.2, 0.3])
    found = rank_test(scores)
    oracle = stats.friedmanchisquare(*scores.T)
    assert found.p_value == pytest.approx(oracle.pvalue, abs=0.012)
    nemenyi = stats.studentized_range.ppf(0.95, 4, np.inf) / np.sqrt(2) * np.sqrt(4 * 5 / (6 * 60))
    assert found.distance == pytest.approx(nemenyi, rel=0.06)


def test_it_calls_alike_methods_different_no_more_often_than_it_says():
    random = np.random.default_rng(3)
    found = [rank_test(random.normal(size=(6, 4))) for _ in range(120)]
    assert sum(each.p_value <= 0.05 for each in found) <= 14  # 6 expected, 99.9% of the time fewer
    apart = sum(
        any(each.told_apart(one, other) for one in range(4) for other in range(one))
        for each in found
    )
    assert apart <= 14


def test_too_few_data_sets_tell_nobody_apart_whatever_they_say():
    always = np.tile([[2.0, 1.0]], (5, 1))
    found = rank_test(always)
    assert found.average_ranks == (1.0, 2.0)
    assert found.distance is None  # 2 of 32 orders are as far apart
    assert not found.told_apart(0, 1)
    assert found.p_value == pytest.approx(2 / 32, abs=0.01)
    assert rank_test(np.tile([[2.0, 1.0]], (7, 1))).told_apart(0, 1)


def test_methods_that_never_differ_are_alike():
    found = rank_test(np.ones((4, 3)))
    assert found.average_ranks == (2.0, 2.0, 2.0)
    assert (found.statistic, found.p_value, found.distance) == (0.0, 1.0, None)
