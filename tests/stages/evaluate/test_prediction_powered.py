"""Intervals hold the truth as often as they say: 1,000 sets each, drawn and added up at once."""

from __future__ import annotations

import numpy as np
import pytest

from distill.stages.evaluate.prediction_powered import (
    aligned,
    estimate,
    people_table,
    teacher_table,
)
from distill.stages.evaluate.resampling import draw, percentiles, resampled

SETS = 1_000
STRATA = 4


def drawn(random, rows, accuracies, teacher_right):
    """Strata of rows, whether the student is right by people, and by a teacher who errs."""
    stratum = random.integers(STRATA, size=rows)
    right = (random.random(rows) < accuracies[stratum]).astype(float)
    by_teacher = np.where(random.random(rows) < teacher_right, right, 1 - right)
    return stratum, right, by_teacher


def by_stratum(stratum, table, strata):
    sums = np.zeros((strata, table.shape[1]))
    np.add.at(sums, stratum if strata > 1 else np.zeros_like(stratum), table)
    return sums


@pytest.mark.parametrize("strata", [1, STRATA])
@pytest.mark.parametrize(
    ("people", "teacher", "right"), [(200, 5_000, 0.9), (100, 2_000, 0.95), (200, 5_000, 0.5)]
)
def test_the_truth_is_outside_of_the_interval_too_often_or_it_is_not_narrower(
    people, teacher, right, strata
):
    random = np.random.default_rng(11)
    accuracies = np.array([0.6, 0.85, 0.9, 0.97])
    truth = accuracies.mean()
    held, alone_held, widths, alone_widths = [], [], [], []
    for _ in range(SETS):
        stratum, score, proxy = drawn(random, people, accuracies, right)
        others, _, other_proxy = drawn(random, teacher, accuracies, right)
        found = estimate(
            by_stratum(stratum, people_table(score, proxy), strata),
            by_stratum(others, teacher_table(other_proxy), strata),
            share=True,
        )
        low, high = found.interval
        alone_low, alone_high = found.people_interval
        held.append(low <= truth <= high)
        alone_held.append(alone_low <= truth <= alone_high)
        widths.append(high - low)
        alone_widths.append(alone_high - alone_low)
    assert 0.93 <= np.mean(held) <= 0.97
    assert 0.93 <= np.mean(alone_held) <= 0.97
    narrower = np.mean(widths) / np.mean(alone_widths)
    print(f"{people} + {teacher}, teacher right {right}, {strata} strata: width {narrower:.2f}×")
    # of a teacher that knows nothing nothing is gained, and next to nothing lost
    assert narrower < (0.85 if right > 0.5 else 1.03)


@pytest.mark.parametrize(("people", "strata"), [(1_000, 20), (320, 8)])
def test_many_strata_of_few_rows_hold_the_truth_too_seldom(people, strata):
    """Each is off by next to nothing, but all the same way."""
    random = np.random.default_rng(15)
    held = []
    for _ in range(SETS):
        tables = []
        for rows in (people, 10_000):
            stratum = random.integers(strata, size=rows)
            score = (random.random(rows) < 0.95).astype(float)
            by_teacher = random.random(rows) < np.where(score > 0, 0.95, 0.1)
            tables.append((stratum, score, by_teacher.astype(float)))
        (mine, score, proxy), (its, _, other_proxy) = tables
        found = estimate(
            by_stratum(mine, people_table(score, proxy), strata),
            by_stratum(its, teacher_table(other_proxy), strata),
            share=True,
        )
        assert found.strata > 4
        held.append(found.interval[0] <= 0.95 <= found.interval[1])
    assert 0.93 <= np.mean(held) <= 0.98


def test_a_mean_error_is_outside_of_its_interval_too_often():
    random = np.random.default_rng(12)
    held = []
    for _ in range(SETS):
        error = random.gamma(2.0, size=300)
        proxy = error + random.normal(size=300)
        others = random.gamma(2.0, size=4_000) + random.normal(size=4_000)
        found = estimate(
            by_stratum(np.zeros(300, int), people_table(error, proxy), 1),
            by_stratum(np.zeros(4_000, int), teacher_table(others), 1),
            share=False,
        )
        held.append(found.interval[0] <= 2.0 <= found.interval[1])
    assert 0.93 <= np.mean(held) <= 0.97


def test_the_truth_is_outside_of_the_bootstraps_interval_too_often():
    """A ratio of means, which has no interval in closed form."""
    random = np.random.default_rng(13)
    held = []
    for number in range(SETS):
        top = random.gamma(2.0, size=250)
        table = np.stack([top, top * 0 + random.gamma(4.0, size=250)], axis=1)
        row = np.arange(250) + 250 * number
        sums = resampled(draw(row, 400), table)
        low, high = percentiles(sums[:, 0] / sums[:, 1])
        held.append(low <= 0.5 <= high)
    assert 0.93 <= np.mean(held) <= 0.97


def test_few_rows_are_taken_for_enough():
    score = np.ones(10)
    people = by_stratum(np.zeros(10, int), people_table(score, score), 1)
    teacher = by_stratum(np.zeros(100, int), teacher_table(np.ones(100)), 1)
    assert estimate(people, teacher, share=True) is None


def test_a_stratum_that_people_saw_nothing_of_counts_for_nothing():
    """It is put together with others, so that its rows are not lost."""
    random = np.random.default_rng(14)
    score = (random.random(60) < 0.8).astype(float)
    proxies = (random.random(900) < 0.8).astype(float)
    mine, its = aligned(
        ("a",),
        by_stratum(np.zeros(60, int), people_table(score, score), 1),
        ("a", "b"),
        by_stratum(random.integers(2, size=900), teacher_table(proxies), 2),
    )
    found = estimate(mine, its, share=True)
    assert (found.people_rows, found.teacher_rows, found.strata) == (60, 900, 1)
    low, high = found.interval
    assert low < found.value < high
