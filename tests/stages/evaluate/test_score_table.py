"""Areas under curves: their intervals hold the truth as often as they say, of few rows too."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from distill.stages.evaluate.score_table import ScoreTable, _cut_to_fit

SETS = 200


@pytest.mark.parametrize("positive", [1, 3, 20])
@pytest.mark.parametrize("apart", [0.5, 2.0, 3.5])
def test_few_positive_rows_are_taken_for_more_than_they_tell(positive, apart):
    """Resamples of them alone hold it in 20% to 90% of sets."""
    random = np.random.default_rng(3)
    truth = NormalDist().cdf(apart / np.sqrt(2))
    is_positive = np.arange(positive + 150) < positive
    held = []
    for _ in range(SETS):
        scores = random.normal(size=len(is_positive)) + apart * is_positive
        above_0 = np.exp(scores)
        table = ScoreTable.of(above_0[:, None], is_positive[:, None])
        low, high = table.intervals()["roc_auc"]
        assert low <= table.measures()["roc_auc"] <= high
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.92


def test_a_class_without_rows_of_both_kinds_has_a_curve():
    scores = np.linspace(0, 1, 8)[:, None]
    table = ScoreTable.of(scores, np.ones((8, 1), np.bool_))
    assert table.measures() == {}
    assert table.intervals() == {}


@pytest.mark.parametrize("most", [1, 2, 7, 100, 255])
def test_more_bits_are_cut_than_it_takes(most):
    random = np.random.default_rng(4)
    wide = random.integers(1 << 63, size=200, dtype=np.uint64)
    near = np.float64(random.random(100)).view(np.uint64)
    lines = np.unique(np.concatenate([wide, near, np.arange(9, dtype=np.uint64)]))
    cut = _cut_to_fit(lines, most)
    assert len(np.unique(lines >> np.uint64(cut))) <= most
    assert len(np.unique(lines >> np.uint64(cut - 1))) > most
