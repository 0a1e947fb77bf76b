"""Costs of the votes that the authors of PATE published: `votes.npz` has those of 250 teachers each
that table 1 of Papernot et al. 2018 is about (storage.googleapis.com/pate-votes/votes.gz, the first
640 rows of MNIST, 8,500 of SVHN and 1,500 of Adult).

The constants were computed by the authors' own programs on these votes, `research/pate_2018/core.py`
as `ICLR2018/smooth_sensitivity_table.py` calls it, and `research/pate_2017/analysis.py`, both of
github.com/tensorflow/privacy.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from distill.core.dp.noisy_votes import NoisyVote, laplace_by_upset, log_upset_laplace
from distill.core.dp.renyi import ORDERS
from tests.command import REPOSITORY

VOTES = Path(REPOSITORY, "tests", "fixtures", "pate_2018", "votes.npz")
AT = [0, 10, 50, 64, 120, 155]
CONFIDENT = {  # threshold and σ of table 1; answers that are due, and costs at some orders
    "mnist": (
        (200, 150, 40),
        282.7210292034086,
        [
            0.18781448890496755,
            0.29671138807714853,
            0.5976526441832398,
            0.6905328782015056,
            2.740282467458361,
            195.50501424573702,
        ],
    ),
    "svhn": (
        (300, 200, 40),
        2969.0914464899433,
        [
            0.5531453047561297,
            0.9391076660251941,
            2.3282499534319965,
            2.7897400253502487,
            11.746142353526297,
            2009.0185257535404,
        ],
    ),
    "adult": (
        (300, 200, 40),
        538.2613062369403,
        [
            0.09150718597481142,
            0.15808271696260973,
            0.3887308146734708,
            0.4639872978185268,
            1.9046424190526097,
            363.68723599164184,
        ],
    ),
}
EPSILONS = {  # by the same program at these orders; what table 1 of the paper prints
    "mnist": (1e-5, 1.9988165922689825, 14.0, 1.97),
    "svhn": (1e-6, 4.915203188113983, 7.5, 4.96),
    "adult": (1e-5, 1.6782339164360813, 16.0, 1.68),
}
LAPLACE = [  # of the first 100 rows of MNIST, moments 1 to 8: ε at δ = 1e-5
    11.719652310444397,
    6.03488697064779,
    4.1836036525603815,
    3.280922944055125,
    2.7589755031939993,
    2.428035376636735,
    2.2035991212427652,
    2.042990706841882,
]


@pytest.fixture(scope="module")
def published():
    with np.load(VOTES) as votes:
        return {name: votes[name].astype(np.float64) for name in votes.files}


def confident_costs(published, name):
    """Answers that are due to all rows, and what questions and answers cost by their votes."""
    (threshold, sigma_1, sigma_2), *_ = CONFIDENT[name]
    vote = NoisyVote("confident_gnmax", sigma_2, threshold, sigma_1)
    votes, counts = np.unique(published[name], axis=0, return_counts=True)
    answered = stats.norm.sf((threshold - votes.max(axis=1)) / sigma_1)
    curves = vote.asking_by_votes(votes) + answered[:, None] * vote.answering_by_votes(votes)
    return counts @ answered, counts @ curves


@pytest.mark.parametrize("name", CONFIDENT)
def test_published_votes_cost_what_the_authors_program_says(published, name):
    _, answered, due = CONFIDENT[name]
    found, curve = confident_costs(published, name)
    assert found == pytest.approx(answered, rel=1e-9)
    np.testing.assert_allclose(curve[AT], due, rtol=1e-9)


@pytest.mark.parametrize("name", EPSILONS)
def test_their_epsilon_is_that_of_the_paper(published, name):
    """Of table 1: equal to the program's own ε to 1e-6, which differs from the printed one by the
    answers that a draw of noise gave (286, 3,098 and 524)."""
    delta, due, order, printed = EPSILONS[name]
    _, curve = confident_costs(published, name)
    epsilons = curve - math.log(delta) / (ORDERS - 1)
    assert epsilons.min() == pytest.approx(due, abs=1e-6)
    assert ORDERS[epsilons.argmin()] == order
    assert due == pytest.approx(printed, rel=0.02)


def test_a_hundred_laplace_answers_cost_what_the_paper_of_2017_prints(published):
    """ε = 2.04 at δ = 1e-5, its abstract and section 4.2: noise of scale 20 on MNIST."""
    log_q = log_upset_laplace(published["mnist"][:100], 20.0)
    curve = laplace_by_upset(log_q, 2 / 20).sum(axis=0)
    epsilons = curve - math.log(1e-5) / (ORDERS - 1)
    moments = [int(np.flatnonzero(moment + 1 == ORDERS)[0]) for moment in range(1, 9)]
    np.testing.assert_allclose(epsilons[moments], LAPLACE, atol=1e-6)
    assert round(min(epsilons[moments]), 2) == 2.04
