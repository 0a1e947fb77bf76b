"""From votes to answers: the class that wins under noise, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.core.dp.noisy_votes import NoisyVote
from distill.core.dp.renyi import Double
from distill.core.dp.secret_noise import Noise
from distill.labels.vote_answers import EXHAUSTED, UNSURE, Codes, VoteAnswers

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Answering:
    """One mechanism with its noise."""

    vote: NoisyVote
    noise: Noise

    def answers(self, votes: Double, most: int) -> VoteAnswers:
        """Answer questions by their votes (B, C), in order, until `most` are answered; and sum what
        that costs by the votes."""
        codes = self._winners(votes)
        is_answered = self._confident(votes)
        codes[~is_answered] = UNSURE
        # of a mechanism that answers all, `most` are all: each of these rows was allowed
        answered_so_far = np.cumsum(is_answered)
        is_beyond = answered_so_far - is_answered >= most
        codes[is_beyond] = EXHAUSTED
        asked = votes[~is_beyond]
        is_counted = is_answered & ~is_beyond
        answered = votes[is_counted]
        cost = self.vote.asking_by_votes(asked).sum(axis=0)
        cost = cost + self.vote.answering_by_votes(answered).sum(axis=0)
        return VoteAnswers(codes, cost)

    def _winners(self, votes: Double) -> Codes:
        draw = self.noise.laplace if self.vote.kind == "lnmax" else self.noise.normal
        noisy = votes + self.vote.scale * draw(votes.shape)
        winners: Codes = noisy.argmax(axis=1).astype(np.int32)
        return winners

    def _confident(self, votes: Double) -> Bool:
        """Which questions the teachers agree on enough, under noise of its own (B,)."""
        if not self.vote.is_confident:
            return np.ones(len(votes), bool)
        noise = self.noise.normal((len(votes),))
        most = votes.max(axis=1, initial=0) + self.vote.threshold_sigma * noise
        confident: Bool = most >= self.vote.threshold
        return confident
