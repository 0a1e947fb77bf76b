"""How many questions a privacy budget is enough for, before any is asked.

What is allowed is a function of the mechanism, ε and δ alone, never of what the teachers answered:
so fragments can be labelled in any order, by any number of workers, and each knows by the numbers
of its rows which of them are asked.

Of Confident-GNMax a question costs little and an answer much. `asked` questions then leave a budget
for so many answers; both numbers are fixed before, and shared among the rows in proportion
(`answers_before`), so that no fragment has to know how many another one answered.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from distill.core.dp.noisy_votes import NoisyVote
from distill.core.dp.renyi import Double, epsilon_of, no_cost

_MOST = 1 << 40  # questions; more than any pool has rows


@dataclasses.dataclass(frozen=True)
class Allowance:
    """So many questions of one mechanism, and of those so many answers."""

    vote: NoisyVote
    asked: int
    answered: int

    @property
    def curve(self) -> Double:
        """Its cost (A,) at the most, whatever the votes are."""
        return self.asked * self.vote.asking + self.answered * self.vote.answering

    def answers_before(self, question: int) -> int:
        """Return how many answers the questions before this one may have together."""
        if not self.asked:
            return 0
        return question * self.answered // self.asked


def spent_epsilon(allowances: Sequence[Allowance], delta: float) -> float:
    """Return the ε of all of them together, which ask the same teachers. Of LNMax alone the plain
    sum of its pure ε is taken where that is less."""
    curve = sum((each.curve for each in allowances), no_cost())
    by_orders = epsilon_of(curve, delta)
    if any(each.vote.kind != "lnmax" for each in allowances):
        return by_orders
    pure = sum(2 * each.answered / each.vote.scale for each in allowances)
    return min(by_orders, pure)


def largest_allowance(
    vote: NoisyVote,
    epsilon: float,
    delta: float,
    *,
    asked: int | None = None,
    before: Sequence[Allowance] = (),
) -> Allowance:
    """Return the most that may be asked, and answered, after what was allowed `before`.

    Without `asked` every question may be answered. With it no more are asked, and of a confident
    mechanism they leave more for answers. Nothing is allowed where ε is not enough for one."""

    def fits(questions: int, answers: int) -> bool:
        one = Allowance(vote, questions, answers)
        return spent_epsilon([*before, one], delta) <= epsilon

    if asked is None or not vote.is_confident:
        most = _MOST if asked is None else asked
        number = _largest(lambda count: fits(count, count), most)
        return Allowance(vote, number, number)
    answers = _largest(lambda count: fits(asked, count), asked)
    return Allowance(vote, asked if answers else 0, answers)


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits, where all below one that fits do."""
    low = 0
    high = 1
    while high <= most and fits(high):
        low = high
        high *= 2
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low
