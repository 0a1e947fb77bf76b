"""The bound on ε by one run with canaries, beside what its authors printed and beside simulations."""

from __future__ import annotations

import numpy as np
import pytest

from distill.stages.audit.one_run import binomial, canary_bound, chance, refuted_epsilon


@pytest.mark.parametrize(
    ("canaries", "guesses", "correct", "delta", "printed"),
    [
        (1_000, 100, 75, 1e-4, 0.673),  # arXiv 2305.08846, appendix D
        (100_000, 1_510, 1_439, 1e-5, 2.675),  # section 7, cut off after three digits
    ],
)
def test_the_bound_is_the_one_that_its_authors_printed(canaries, guesses, correct, delta, printed):
    assert abs(refuted_epsilon(canaries, guesses, correct, delta, 0.05) - printed) < 1e-3


def test_the_chance_is_that_of_a_plain_loop():
    """Appendix D, line by line."""
    canaries, guesses, correct, epsilon, delta = 200, 60, 41, 0.7, 1e-3
    mass = binomial(guesses, 1 / (1 + np.exp(-epsilon)))
    assert mass.sum() == pytest.approx(1)
    total = alpha = 0.0
    for number in range(1, correct + 1):
        total += mass[correct - number]
        alpha = max(alpha, total / number)
    due = mass[correct:].sum() + alpha * delta * 2 * canaries
    assert chance(canaries, guesses, correct, epsilon, delta) == pytest.approx(due)


def test_a_private_answer_is_seldom_accused_of_more_than_it_leaks():
    """Randomised response has exactly ε: a bound at 90% confidence may be above it in one of ten
    runs. The best of several numbers of guesses is taken, and pays for it."""
    draw = np.random.default_rng(1)
    epsilon, accused, runs = 1.0, 0, 200
    for _ in range(runs):
        taught = draw.random(300) < 0.5
        is_right = draw.random(300) < 1 / (1 + np.exp(-epsilon))
        scores = np.where(taught == is_right, 1.0, 0.0) + 1e-3 * draw.random(300)
        bound = canary_bound(scores, taught, 0.0, 0.9)
        accused += bound.epsilon > epsilon
    assert accused <= 32  # 20 are allowed on the average, 4.2 is their standard deviation


def test_scores_that_know_nothing_bound_nothing():
    draw = np.random.default_rng(2)
    scores = draw.normal(size=2_000)
    bound = canary_bound(scores, draw.random(2_000) < 0.5, 1e-5, 0.95)
    assert bound.epsilon == 0
    assert bound.canaries == 2_000


def test_canaries_that_are_known_by_heart_bound_much():
    draw = np.random.default_rng(3)
    taught = draw.random(400) < 0.5
    bound = canary_bound(taught + 0.1 * draw.random(400), taught, 1e-5, 0.95)
    assert bound.correct == bound.guesses
    assert bound.epsilon > 3


def test_too_few_canaries_for_a_guess_are_no_error():
    assert canary_bound(np.array([1.0]), np.array([True]), 0.0, 0.95).epsilon == 0
