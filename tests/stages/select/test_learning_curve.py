"""What more labels would buy, on curves whose law is known."""

from __future__ import annotations

import numpy as np
import pytest

from distill.stages.select.learning_curve import fit_curve

ROWS = [50, 100, 200, 500, 1_000]


def _score(rows, limit=0.92, scale=1.5, power=0.5):
    return limit - scale * np.asarray(rows, float) ** -power


def test_a_law_is_not_found_again():
    curve = fit_curve(ROWS, _score(ROWS), [1e-6] * 5)
    assert curve.score(10_000) == pytest.approx(_score(10_000), abs=1e-3)
    gain = curve.gain(1_000)
    assert gain.points == pytest.approx(100 * (_score(2_000) - _score(1_000)), abs=0.05)
    assert gain.margin < 0.1


@pytest.mark.parametrize("error", [0.003, 0.01])
def test_the_interval_misses_what_comes_more_often_than_it_says(error):
    true_gain = 100 * (_score(2_000) - _score(1_000))
    hits = 0
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(size=len(ROWS)) * error
        curve = fit_curve(ROWS, _score(ROWS) + noise, [error] * 5, seed=seed)
        gain = curve.gain(1_000)
        hits += abs(gain.points - true_gain) <= 1.5 * gain.margin
    assert hits >= 51


def test_a_curve_that_is_flat_or_falls_promises_something():
    for scores in ([0.8] * 5, [0.8, 0.79, 0.78, 0.77, 0.76]):
        curve = fit_curve(ROWS, scores, [0.001] * 5)
        assert 0 <= curve.gain(10_000).points < 0.3


def test_more_than_everything_is_promised():
    curve = fit_curve([10, 20, 40], [0.6, 0.8, 0.99], [0.01] * 3)
    assert curve.score(10**9) <= 1.0


def test_two_points_are_taken_for_a_curve():
    assert fit_curve([50, 100], [0.5, 0.6], [0.01] * 2) is None
    assert fit_curve([50, 50, 100], [0.5, 0.5, 0.6], [0.01] * 3) is None


def test_words_or_numbers_change_with_the_seed_alone():
    curve = fit_curve(ROWS, _score(ROWS), [0.005] * 5, seed=4)
    again = fit_curve(ROWS, _score(ROWS), [0.005] * 5, seed=4)
    assert curve.gain(10_000) == again.gain(10_000)
    words = curve.gain(10_000).in_words
    assert words.startswith("the next 10,000 rows buy ")
    assert words.endswith(" points")
