"""ε bounded from below by one training run with canaries.

Steinke, Nasr & Jagielski, "Privacy auditing with one (1) training run", NeurIPS 2023 (Algorithm 1,
Theorem 3.1 and its computation in the appendix). Of m canaries each was taught with probability ½,
by its own coin. The auditor orders them by how well the model knows them and guesses that the first
were taught and the last were not. Of an (ε, δ)-private training the number of right guesses V among
r is, whatever the auditor does,

    P[V ≥ v]  ≤  β + 2 m δ α,   β = P[B ≥ v],   α = max_i P[v > B ≥ v − i] / i,
    B ~ Binomial(r, e^ε / (1 + e^ε)).

So every ε for which this is below 1 − confidence is refuted. How many guesses are made is tried at
a few shares fixed beforehand, and what is left of the confidence is divided by their number
(Bonferroni), so that the best of them may be taken.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distill.core.audit_results import CanaryBound

Double = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_SHARES = (0.05, 0.1, 0.25, 0.5)
"""Of the canaries that are guessed on either side."""
_MOST_EPSILON = 64.0
_HALVINGS = 40


def canary_bound(scores: Double, taught: Bool, delta: float, confidence: float) -> CanaryBound:
    """Return the bound by the scores (m,) of canaries, the larger the better known, and by which of
    them were taught."""
    canaries = len(scores)
    # ties are cut by nothing that knows the coins
    taught_first = taught[np.argsort(-scores, kind="stable")]
    alone = (1 - confidence) / len(_SHARES)
    best = CanaryBound(
        canaries=canaries, guesses=0, correct=0, epsilon=0.0, delta=delta, confidence=confidence
    )
    for share in _SHARES:
        side = int(share * canaries)
        if not side:
            continue
        correct = int(taught_first[:side].sum() + (~taught_first[-side:]).sum())
        epsilon = refuted_epsilon(canaries, 2 * side, correct, delta, alone)
        if epsilon > best.epsilon or not best.guesses:
            best = CanaryBound(
                canaries=canaries,
                guesses=2 * side,
                correct=correct,
                epsilon=epsilon,
                delta=delta,
                confidence=confidence,
            )
    return best


def refuted_epsilon(
    canaries: int, guesses: int, correct: int, delta: float, most_chance: float
) -> float:
    """Return the largest ε at which so many right guesses have less than that chance; 0 where none
    has."""
    if chance(canaries, guesses, correct, 0.0, delta) >= most_chance:
        return 0.0
    low = 0.0
    high = _MOST_EPSILON
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if chance(canaries, guesses, correct, middle, delta) < most_chance:
            low = middle
        else:
            high = middle
    return low


def chance(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Return the most that P[V ≥ correct] can be under (ε, δ)."""
    right = 1 / (1 + np.exp(-epsilon))
    mass = binomial(guesses, right)
    beta = float(mass[correct:].sum())
    # P[v > B ≥ v − i] for i = 1 … v
    below = np.cumsum(mass[:correct][::-1])
    alpha = float((below / np.arange(1, correct + 1)).max(initial=0.0))
    return min(1.0, beta + 2 * canaries * delta * alpha)


def binomial(trials: int, share: float) -> Double:
    """Return P[B = k] for k = 0 … trials."""
    counts = np.arange(trials + 1)
    # as logarithms, since the factorial of 171 is no number of double precision
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    choices = factorials[-1] - factorials - factorials[::-1]
    # of a share that rounds to 1 the other is no logarithm
    other = max(1 - share, 1e-300)
    mass: Double = np.exp(choices + counts * np.log(share) + (trials - counts) * np.log(other))
    return mass
