"""Costs of noisy votes, held against the authors' own program, dp-accounting, and sixty digits.

The constants were computed by `research/pate_2018/core.py` of github.com/tensorflow/privacy.
"""

from __future__ import annotations

import dp_accounting
import mpmath
import numpy as np
import pytest
from dp_accounting.rdp import RdpAccountant

from distill.core.dp.allowance import Allowance, spent_epsilon
from distill.core.dp.noisy_votes import (
    NoisyVote,
    gaussian_by_upset,
    laplace_by_upset,
    log_upset_gaussian,
    log_upset_laplace,
)
from distill.core.dp.renyi import ORDERS

UNANIMOUS = [250.0] + 9 * [0.0]
CLEAR = [200.0, 30.0, 10.0, 5.0, 5.0] + 5 * [0.0]
CLOSE = [120.0, 110.0, 20.0] + 7 * [0.0]
EVEN = 10 * [25.0]
AT = [0, 10, 50, 120, 155]
PUBLISHED_GAUSSIAN = {  # σ = 40
    "unanimous": (
        UNANIMOUS,
        [
            1.4736996994758387e-05,
            1.5336442640942404e-05,
            1.850749686233845e-05,
            0.0002034549876235079,
            0.64,
        ],
    ),
    "clear": (
        CLEAR,
        [
            0.0006875000000000001,
            0.0008408376151217534,
            0.0009624818381520943,
            0.004411636673791171,
            0.64,
        ],
    ),
    "close": (CLOSE, [0.0006875, 0.0013125, 0.0038125, 0.02, 0.64]),
    "even": (EVEN, [0.0006875, 0.0013125, 0.0038125, 0.02, 0.64]),
}
PUBLISHED_LAPLACE = {  # b = 20
    "unanimous": (
        UNANIMOUS,
        [
            2.5006155666359442e-05,
            2.5638822737261888e-05,
            2.8645592036112627e-05,
            9.578556795659577e-05,
            0.0911877603769725,
        ],
    ),
    "close": (
        CLOSE,
        [0.0055, 0.0105, 0.0305, 0.09052647844675155, 0.0991648947528887],
    ),
}


@pytest.mark.parametrize("votes", PUBLISHED_GAUSSIAN)
def test_a_gaussian_answer_costs_what_the_published_program_says(votes):
    counts, due = PUBLISHED_GAUSSIAN[votes]
    curve = NoisyVote("gnmax", 40.0).answering_by_votes(np.array([counts]))
    np.testing.assert_allclose(curve[0, AT], due, rtol=1e-9)


@pytest.mark.parametrize("votes", PUBLISHED_LAPLACE)
def test_a_laplace_answer_costs_what_the_published_program_says(votes):
    counts, due = PUBLISHED_LAPLACE[votes]
    log_q = log_upset_laplace(np.array([counts]), 20.0)
    np.testing.assert_allclose(laplace_by_upset(log_q, 2 / 20)[0, AT], due, rtol=1e-9)


@pytest.mark.parametrize("gap", [40, 250, 2_000])
def test_what_float64_cannot_hold_is_lost_from_theorem_6(gap):
    """σ = 20: q is down to 10⁻¹⁰⁸⁸, which is 0 in float64."""
    sigma = 20.0
    votes = np.array([[float(gap), 0.0]])
    log_q = log_upset_gaussian(votes, sigma)
    with mpmath.workdps(1_200):
        q = mpmath.ncdf(-mpmath.mpf(gap) / (mpmath.sqrt(2) * sigma))
        assert float(mpmath.log(q)) == pytest.approx(log_q[0], rel=1e-10)
        due = [_theorem_6(q, mpmath.mpf(sigma), mpmath.mpf(order)) for order in ORDERS[AT]]
    np.testing.assert_allclose(gaussian_by_upset(log_q, sigma)[0, AT], due, rtol=1e-6, atol=1e-200)


def _theorem_6(q, sigma, order):
    """As the paper has it, at the precision of whoever calls."""
    plain = order / sigma**2
    second = sigma * mpmath.sqrt(mpmath.log(1 / q))
    first = second + 1
    cost_1 = first / sigma**2
    cost_2 = second / sigma**2
    grows = (
        q
        <= mpmath.e ** ((second - 1) * cost_2)
        / ((first / (first - 1)) * (second / (second - 1))) ** second
    )
    if order >= first or second <= 1 or not grows:
        return float(plain)
    a = (1 - q) / (1 - (q * mpmath.e**cost_2) ** ((second - 1) / second))
    b = mpmath.e**cost_1 / q ** (1 / (first - 1))
    bound = mpmath.log((1 - q) * a ** (order - 1) + q * b ** (order - 1)) / (order - 1)
    return float(min(plain, bound))


@pytest.mark.parametrize(("answers", "sigma", "delta"), [(100, 20.0, 1e-5), (1_000, 40.0, 1e-6)])
def test_many_gaussian_answers_cost_what_dp_accounting_says(answers, sigma, delta):
    accountant = RdpAccountant()
    # two counts change by 1, which is √2 in length
    accountant.compose(dp_accounting.GaussianDpEvent(sigma / 2**0.5), answers)
    spent = spent_epsilon([Allowance(NoisyVote("gnmax", sigma), answers, answers)], delta)
    assert spent == pytest.approx(accountant.get_epsilon(delta), abs=1e-9)


def test_questions_without_an_answer_cost_what_dp_accounting_says():
    accountant = RdpAccountant()
    accountant.compose(dp_accounting.GaussianDpEvent(150.0), 2_000)
    accountant.compose(dp_accounting.GaussianDpEvent(40.0 / 2**0.5), 300)
    vote = NoisyVote("confident_gnmax", 40.0, 200.0, 150.0)
    spent = spent_epsilon([Allowance(vote, 2_000, 300)], 1e-5)
    assert spent == pytest.approx(accountant.get_epsilon(1e-5), abs=1e-9)


def test_laplace_answers_cost_no_more_than_their_pure_epsilon():
    vote = NoisyVote("lnmax", 20.0)
    assert spent_epsilon([Allowance(vote, 3, 3)], 1e-5) <= 3 * 2 / 20
    # below what one count of twice the sensitivity costs, of which dp-accounting knows
    accountant = RdpAccountant()
    accountant.compose(dp_accounting.LaplaceDpEvent(20.0 / 2), 400)
    spent = spent_epsilon([Allowance(vote, 400, 400)], 1e-5)
    assert 0.5 * accountant.get_epsilon(1e-5) < spent <= accountant.get_epsilon(1e-5)


@pytest.mark.parametrize("kind", ["gnmax", "lnmax", "confident_gnmax"])
def test_no_votes_cost_more_than_is_said_of_all(kind):
    draw = np.random.default_rng(3)
    shares = draw.dirichlet(np.full(10, 0.3), size=200)
    votes = np.array([draw.multinomial(250, share) for share in shares], np.float64)
    vote = NoisyVote(kind, 40.0, 200.0, 150.0)
    rounding = 1 + 1e-12
    assert (vote.answering_by_votes(votes) <= vote.answering * rounding).all()
    assert (vote.asking_by_votes(votes) <= vote.asking * rounding).all()
