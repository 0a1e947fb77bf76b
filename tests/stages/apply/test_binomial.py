"""What errors prove, beside scipy's binomial and beta distributions."""

from __future__ import annotations

import pytest
from scipy.stats import beta, binom

from distill.stages.apply.binomial import at_most, lowest_share, rows_needed


@pytest.mark.parametrize("rows", [1, 59, 1_000, 100_000])
@pytest.mark.parametrize("rate", [1e-4, 0.05, 0.5, 0.99])
def test_tails_are_those_of_scipy(rows, rate):
    for errors in {0, rows // 20, rows // 2, rows - 1, rows}:
        due = binom.cdf(errors, rows, rate)
        assert at_most(errors, rows, rate) == pytest.approx(due, rel=1e-9, abs=1e-300)


def test_bounds_are_those_of_clopper_and_pearson():
    for right, rows in [(1, 1), (95, 100), (100, 100), (3, 400), (9_990, 10_000)]:
        due = beta.ppf(0.05, right, rows - right + 1)
        assert lowest_share(right, rows, 0.05) == pytest.approx(due, rel=1e-9)
    assert lowest_share(0, 100, 0.05) == 0.0


def test_one_row_fewer_proves_nothing():
    assert rows_needed(0, 0.05, 0.05) == 59  # Wilks 1941
    for errors in (0, 1, 7):
        needed = rows_needed(errors, 0.1, 0.01)
        assert at_most(errors, needed, 0.1) <= 0.01 < at_most(errors, needed - 1, 0.1)
