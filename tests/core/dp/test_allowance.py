from __future__ import annotations

import numpy as np
import pytest

from distill.core.dp.allowance import Allowance, largest_allowance, spent_epsilon
from distill.core.dp.noisy_votes import NoisyVote
from distill.core.dp.renyi import epsilon_of, no_cost

GNMAX = NoisyVote("gnmax", 20.0)
CONFIDENT = NoisyVote("confident_gnmax", 40.0, 200.0, 150.0)


def test_one_answer_more_than_is_allowed_exceeds_the_budget():
    allowed = largest_allowance(GNMAX, 5.0, 1e-5)
    more = Allowance(GNMAX, allowed.asked + 1, allowed.answered + 1)
    assert spent_epsilon([allowed], 1e-5) <= 5 < spent_epsilon([more], 1e-5)


def test_what_others_have_spent_is_spent_again():
    first = largest_allowance(GNMAX, 3.0, 1e-5)
    second = largest_allowance(GNMAX, 5.0, 1e-5, before=[first])
    whole = largest_allowance(GNMAX, 5.0, 1e-5)
    assert first.asked + second.asked == whole.asked


def test_questions_that_the_job_limits_leave_no_more_for_answers():
    allowed = largest_allowance(CONFIDENT, 2.0, 1e-5, asked=2_000)
    every = largest_allowance(CONFIDENT, 2.0, 1e-5)
    assert allowed.asked == 2_000
    assert every.answered == every.asked
    assert 0 < allowed.answered < every.answered < 2_000


def test_a_budget_that_is_not_enough_for_one_answer_allows_some():
    assert largest_allowance(NoisyVote("gnmax", 0.1), 1.0, 1e-5).asked == 0
    assert largest_allowance(CONFIDENT, 0.1, 1e-5, asked=10**6).asked == 0


@pytest.mark.parametrize("cut", [7, 64, 1_999])
def test_fragments_together_answer_more_than_is_allowed(cut):
    allowed = Allowance(CONFIDENT, 2_000, 137)
    borders = [*range(0, 2_000, cut), 2_000]
    shares = np.diff([allowed.answers_before(each) for each in borders])
    assert shares.sum() == 137
    assert shares.min() >= 0


def test_nothing_asked_costs_something():
    assert epsilon_of(no_cost(), 1e-5) == 0
