from __future__ import annotations

import math

import numpy as np
import pytest

from distill.core.dp.noisy_votes import NoisyVote
from distill.core.dp.secret_noise import SecretNoise
from distill.labelers.noisy_answers import Answering
from distill.labels.vote_answers import EXHAUSTED, UNSURE


class _Drawn:
    """Noise that a test can draw again."""

    def __init__(self) -> None:
        self.draw = np.random.default_rng(7)

    def normal(self, shape):
        return self.draw.normal(size=shape)

    def laplace(self, shape):
        return self.draw.laplace(size=shape)


@pytest.mark.parametrize(
    ("kind", "due"),
    [
        # N(0, 2·3²) above 2; the difference of two Laplace numbers of b = 3 above 2
        ("gnmax", 0.5 * math.erfc(-2 / (3 * 2**0.5) / 2**0.5)),
        ("lnmax", 1 - (0.5 + 2 / 3 / 4) * math.exp(-2 / 3)),
    ],
)
def test_a_class_wins_more_often_than_its_noise_lets_it(kind, due):
    votes = np.tile([6.0, 4.0], (40_000, 1))
    answers = Answering(NoisyVote(kind, 3.0), _Drawn()).answers(votes, len(votes))
    share = (answers.codes == 0).mean()
    assert abs(share - due) < 5 * (due * (1 - due) / len(votes)) ** 0.5


def test_rows_beyond_the_allowed_answers_are_answered_or_paid_for():
    votes = np.array([[9.0, 0.0]] * 5 + [[1e6, 0.0]] * 3)
    vote = NoisyVote("confident_gnmax", 1.0, 1e3, 1.0)
    answers = Answering(vote, SecretNoise()).answers(votes, 2)
    assert answers.codes.tolist() == 5 * [UNSURE] + [0, 0, EXHAUSTED]
    asked = vote.asking_by_votes(votes[:7]).sum(axis=0)
    answered = vote.answering_by_votes(votes[5:7]).sum(axis=0)
    np.testing.assert_allclose(answers.curve, asked + answered)


def test_no_question_is_an_error():
    answers = Answering(NoisyVote("gnmax", 1.0), SecretNoise()).answers(np.empty((0, 3)), 0)
    assert len(answers.codes) == 0
    assert not answers.curve.any()
