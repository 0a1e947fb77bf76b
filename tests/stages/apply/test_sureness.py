"""How sure a student is: in the order of its probabilities, also where those are all 1."""

from __future__ import annotations

import numpy as np
import pytest

from distill.core.cascades import Threshold
from distill.stages.apply.sureness import (
    BINS,
    bins_of,
    log_odds,
    probability_at,
    softmax,
    sure_rows,
    unsure_rows,
)


def test_log_odds_are_those_of_the_likeliest_class():
    logits = np.random.default_rng(0).normal(size=(500, 7)) * 3
    likeliest = softmax(logits).max(axis=1)
    np.testing.assert_allclose(log_odds(logits), np.log(likeliest / (1 - likeliest)), atol=1e-9)


def test_rows_of_probability_one_are_told_apart():
    logits = np.array([[400.0, 0.0], [90.0, 0.0], [4e7, 0.0]])
    assert (softmax(logits).max(axis=1) == 1.0).all()
    bins = bins_of(log_odds(logits))
    assert bins[1] < bins[0] < bins[2] < BINS


def test_what_no_number_holds_is_in_a_bin():
    logits = np.array([[3e38, -3e38], [0.0, 0.0]])
    bins = bins_of(log_odds(logits))
    assert bins[0] == BINS - 1
    assert 0 < bins[1] < BINS - 1


def test_the_border_of_a_bin_is_a_probability_that_its_rows_reach():
    logits = np.random.default_rng(1).normal(size=(2_000, 4)) * 2
    likeliest = softmax(logits).max(axis=1)
    bins = bins_of(log_odds(logits))
    for number in np.unique(bins)[::20]:
        border = probability_at(int(number))
        assert (likeliest[bins >= number] >= border - 1e-12).all()
        assert (likeliest[bins < number] <= border + 1e-12).all()
    assert probability_at(0) < 1e-11
    assert probability_at(BINS - 1) == pytest.approx(1.0)


@pytest.mark.parametrize("by", ["confidence", "sets"])
def test_rows_that_are_looked_at_by_blocks_are_others(by):
    logits = np.random.default_rng(2).normal(size=(2_500, 4)).astype(np.float32) * 2
    border = int(np.median(bins_of(log_odds(logits))))
    threshold = Threshold(
        by=by, threshold=0.3, bin=border, labelled=1, answered=1, right=1, bound=0.9
    )
    labelled = np.arange(2_500) % 7 > 0
    due = np.flatnonzero(labelled & ~sure_rows(logits.astype(np.float64), threshold))
    assert 0 < len(due) < 2_000
    np.testing.assert_array_equal(unsure_rows(logits, labelled, threshold), due)
