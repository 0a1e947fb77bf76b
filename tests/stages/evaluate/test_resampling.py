"""The streamed bootstrap's intervals hold the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from distill.stages.evaluate.resampling import draw, percentiles, resampled

SETS = 1_000
ROWS = 500


@pytest.mark.parametrize("measure", ["mean", "difference", "ratio"])
def test_the_truth_is_outside_of_a_bootstrap_interval_too_often(measure):
    """Of a skewed loss, of two students' accuracies on the same rows, and of an accuracy balanced
    over two classes, in 1,000 simulated test pools each."""
    random = np.random.default_rng(5)
    draws = draw(np.arange(ROWS), 500)
    held = 0
    for _ in range(SETS):
        table, truth = _drawn(random, measure)
        low, high = percentiles(_measure(resampled(draws, table), measure))
        held += low <= truth <= high
    assert 0.93 <= held / SETS <= 0.97


def _drawn(random: np.random.Generator, measure: str) -> tuple[np.ndarray, float]:
    """Numbers of each row, the first 1, and what the measure is of all rows there could be."""
    ones = np.ones(ROWS)
    if measure == "mean":
        return np.stack([ones, random.exponential(size=ROWS)], axis=1), 1.0
    hard = random.random(ROWS) < 0.3
    if measure == "difference":
        first = random.random(ROWS) < np.where(hard, 0.6, 0.97)
        second = random.random(ROWS) < np.where(hard, 0.5, 0.95)
        return np.stack([ones, first, second], axis=1).astype(float), 0.3 * 0.1 + 0.7 * 0.02
    right = random.random(ROWS) < np.where(hard, 0.7, 0.9)
    return np.stack([hard, hard & right, ~hard, ~hard & right], axis=1).astype(float), 0.8


def _measure(sums: np.ndarray, measure: str) -> np.ndarray:
    if measure == "mean":
        return sums[:, 1] / sums[:, 0]
    if measure == "difference":
        return (sums[:, 1] - sums[:, 2]) / sums[:, 0]
    return (sums[:, 1] / sums[:, 0] + sums[:, 3] / sums[:, 2]) / 2
