"""AUC, curve and rates beside scikit-learn, and their intervals beside the truth."""

from __future__ import annotations

import numpy as np
import pytest

from distill.core.audit_results import Attack, auc_interval
from distill.stages.audit import roc


def test_the_area_and_its_error_are_those_of_the_pairs():
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(1)
    members = np.round(draw.normal(0.5, 1, 80), 1)  # with ties
    others = np.round(draw.normal(0, 1, 120), 1)
    area, error = roc.auc(members, others)
    truth = np.repeat([1, 0], [80, 120])
    assert area == pytest.approx(metrics.roc_auc_score(truth, np.append(members, others)))
    pairs = (members[:, None] > others) + 0.5 * (members[:, None] == others)
    due = pairs.mean(axis=1).var(ddof=1) / 80 + pairs.mean(axis=0).var(ddof=1) / 120
    assert error == pytest.approx(np.sqrt(due))


def test_alike_rows_are_within_the_interval_as_often_as_it_says():
    """A share of 95%: of 400 draws 380, and by chance no fewer than 364."""
    draw = np.random.default_rng(2)
    within = 0
    for _ in range(400):
        area, error = roc.auc(draw.normal(size=60), draw.normal(size=90))
        low, high = auc_interval(area, error, 60, 0.95)
        within += low <= 0.5 <= high
    assert within >= 364


def test_an_area_of_one_is_not_called_certain():
    area, error = roc.auc(np.arange(50.0) + 100, np.arange(40.0))
    low, high = auc_interval(area, error, 40, 0.95)
    assert area == 1
    assert high == 1
    assert 0.85 < low < 0.95


def test_members_are_found_above_a_threshold_that_no_more_others_pass():
    others = np.arange(100.0)
    members = np.array([99.5, 98.5, 97.5, 50.0])
    found = roc.found_at(members, others, (0.0, 0.01, 0.02, 1.0))
    assert found.tolist() == [0.25, 0.5, 0.75, 1.0]


def test_equal_scores_accuse_nobody():
    """All alike: any threshold takes all or none, and all is too many."""
    assert roc.found_at(np.zeros(10), np.zeros(50), (0.01, 0.5)).tolist() == [0, 0]


def test_too_few_rows_are_told_and_not_called_none():
    draw = np.random.default_rng(3)
    tenth, one = roc.rates(draw.normal(size=300), draw.normal(size=300), (0.001, 0.01), 0)
    assert tenth.found is None
    assert tenth.in_words == "too few rows"
    assert "300 rows that did not teach are too few for it: 2,000 at least" in tenth.why
    assert one.found is not None
    assert one.low <= one.found <= one.high


def test_the_interval_of_a_rate_holds_the_draw_of_the_threshold_too():
    """Normal scores, one apart: 9.2% are found at 1%. Of 30 draws 28 intervals hold that, by chance
    no fewer than 24."""
    due = 0.0924
    draw = np.random.default_rng(4)
    within = 0
    for number in range(30):
        members, others = draw.normal(1, 1, 400), draw.normal(0, 1, 500)
        (rate,) = roc.rates(members, others, (0.01,), number)
        within += rate.low <= due <= rate.high
    assert within >= 24


def test_a_curve_rises_from_few_to_all():
    draw = np.random.default_rng(5)
    points = roc.curve(draw.normal(1, 1, 200), draw.normal(0, 1, 300))
    shares, found = zip(*points, strict=True)
    assert shares[0] == pytest.approx(1 / 300)
    assert points[-1] == (1.0, 1.0)
    assert list(shares) == sorted(shares)
    assert list(found) == sorted(found)


def test_the_interval_of_an_attack_widens_with_its_level():
    attack = Attack(kind="loss", auc=0.7, error=0.02, rates=(), curve=())
    low, high = attack.interval(100, 100, 0.9)
    lower, higher = attack.interval(100, 100, 0.99)
    assert 0.5 < lower < low < 0.7 < high < higher < 1
