"""A range holds what it says it holds, however fragments differ."""

from __future__ import annotations

import numpy as np
import pytest

from distill.plan.costs.ranges import t98, total_range


def held(draw, sigma: float, sample: int) -> bool:
    """Whether the rest of a pool lies within the range that some of its fragments give."""
    costs = np.repeat(draw.lognormal(0, sigma, size=60), 3)
    chosen = draw.permutation(len(costs))
    known, left = costs[chosen[:sample]], costs[chosen[sample:]]
    return total_range(known.tolist(), 1000 * len(left), len(left)).holds(1000 * left.sum())


@pytest.mark.parametrize("sigma", [0.0, 0.2, 0.5, 0.8])
def test_the_truth_lies_outside_too_often(sigma):
    draw = np.random.default_rng(7)
    found = [held(draw, sigma, 16) for _ in range(400)]
    assert np.mean(found) >= 0.945


def test_a_range_is_too_wide_to_be_of_use():
    draw = np.random.default_rng(7)
    costs = draw.lognormal(0, 0.3, size=16)
    found = total_range(costs.tolist(), 1000, 100)
    assert found.high / found.low < 1.8


def test_one_fragment_is_taken_for_all():
    found = total_range([2.0], 100, 9)
    assert (found.low, found.high) == (100, 400)


def test_nothing_left_costs_something():
    assert total_range([2.0, 3.0], 0, 0).high == 0


def test_a_few_alike_promise_that_all_are():
    found = total_range([1.0, 1.0, 1.0], 100, 5)
    assert (found.low, found.high) == pytest.approx((99, 101))


def test_the_table_of_t_ends_with_a_step():
    assert t98(30) > t98(31) > 2.326
    assert t98(30) - t98(31) < 0.01
