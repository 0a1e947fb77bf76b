"""What one noisy vote of teachers on disjoint data costs, by the mechanism and by the votes.

One unit of private data has taught one teacher, whose vote may move from any class to any other: of
the votes n (C,) two counts change by 1, their maximum by 1 at the most.

    GNMax             argmax_c n_c + N(0, σ²)           ρ(α) = α / σ²
    LNMax             argmax_c n_c + Lap(b)             ρ(α) = 2 ρ_Lap(α), and ≤ 2/b
    Confident-GNMax   GNMax where max n + N(0, σ₁²) ≥ T  and α / (2 σ₁²) more for each question

These hold whatever the votes are. Where teachers agree much less is told: with q the probability
that another class than the first wins (`log_upset`), theorem 6 of Papernot et al. 2018 bounds ρ(α)
by q and the curve above at two larger orders, which proposition 10 chooses; for pure ε (LNMax)
theorem 3 of Papernot et al. 2017. Such a bound depends on private data itself. To publish it, noise
by its smooth sensitivity has to be added, which is not done here: it is for the owner's eyes.

Shapes: B questions, C classes, A orders.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np

from distill.core.dp.renyi import ORDERS, Double, no_cost

# from so many deviations on the series of a tail is exact to 1e-12; `erfc` underflows at 37
_FAR = 25.0


@dataclasses.dataclass(frozen=True)
class NoisyVote:
    """One mechanism that answers questions by the votes of teachers."""

    kind: Literal["gnmax", "lnmax", "confident_gnmax"]
    scale: float  # σ of a count's Gaussian noise, or b of its Laplace noise, in votes
    # votes that the first class needs, noise added, to be answered; of `confident_gnmax`
    threshold: float = 0.0
    threshold_sigma: float = 0.0  # σ of that noise

    @property
    def is_confident(self) -> bool:
        """Whether it leaves questions without an answer where teachers disagree."""
        return self.kind == "confident_gnmax"

    @property
    def asking(self) -> Double:
        """The curve (A,) of a question, answered or not."""
        if not self.is_confident:
            return no_cost()
        # a maximum changes by 1, where two counts do for an answer
        variance = self.threshold_sigma**2
        return ORDERS / (2 * variance)

    @property
    def answering(self) -> Double:
        """The curve (A,) of an answer, whatever the votes are."""
        scale = self.scale
        if self.kind == "lnmax":
            return 2 * _laplace(scale)
        return ORDERS / scale**2

    def asking_by_votes(self, votes: Double) -> Double:
        """Return the curves (B, A) of questions by their votes (B, C)."""
        if not self.is_confident:
            return np.zeros((len(votes), len(ORDERS)))
        most = votes.max(axis=1)
        log_answered = _log_normal_tail((self.threshold - most) / self.threshold_sigma)
        log_unlikely = np.minimum(log_answered, _log_one_minus_exp(log_answered))
        # a maximum's sensitivity is that of an answer under √2 of the noise
        return gaussian_by_upset(log_unlikely, math.sqrt(2) * self.threshold_sigma)

    def answering_by_votes(self, votes: Double) -> Double:
        """Return the curves (B, A) of answers by their votes (B, C)."""
        if self.kind == "lnmax":
            log_q = log_upset_laplace(votes, self.scale)
            pure = laplace_by_upset(log_q, 2 / self.scale)
            curves: Double = np.minimum(pure, self.answering)
            return curves
        return gaussian_by_upset(log_upset_gaussian(votes, self.scale), self.scale)


def log_upset_gaussian(votes: Double, sigma: float) -> Double:
    """Return log q (B,) of votes (B, C): a bound of the probability that GNMax answers another
    class than the first (proposition 7 of Papernot et al. 2018)."""
    gaps = _gaps(votes)
    log_each = _log_normal_tail(gaps / (math.sqrt(2) * sigma))
    classes = votes.shape[1]
    return _at_most_chance(log_each, classes)


def log_upset_laplace(votes: Double, scale: float) -> Double:
    """Return the same of LNMax (lemma 4 of Papernot et al. 2017)."""
    behind = _gaps(votes)
    gaps = behind / scale
    log_each = np.log(2 + gaps) - math.log(4) - gaps
    classes = votes.shape[1]
    return _at_most_chance(log_each, classes)


def _gaps(votes: Double) -> Double:
    """How many votes each other class is behind the first, (B, C − 1)."""
    ordered = np.sort(votes, axis=1)
    gaps: Double = ordered[:, -1:] - ordered[:, :-1]
    return gaps


def _at_most_chance(log_each: Double, classes: int) -> Double:
    # the union bound, and no more than what an argmax of noise alone has
    union = np.logaddexp.reduce(log_each, axis=1)
    at_most: Double = np.minimum(union, math.log(1 - 1 / classes))
    return at_most


def gaussian_by_upset(log_q: Double, sigma: float) -> Double:
    """Return curves (B, A) of an answer under Gaussian noise of which another outcome has the
    probability q (B,): theorem 6 of Papernot et al. 2018, or α / σ² where that is less."""
    curves = np.tile(ORDERS / sigma**2, (len(log_q), 1))
    # proposition 10: the orders at which the bound is taken
    higher_2 = sigma * np.sqrt(-log_q)
    higher_1 = higher_2 + 1
    cost_1 = higher_1 / sigma**2
    cost_2 = higher_2 / sigma**2
    with np.errstate(divide="ignore", invalid="ignore"):
        growth_1 = -np.log1p(-1 / higher_1)
        growth_2 = -np.log1p(-1 / higher_2)
        grows = log_q <= (higher_2 - 1) * cost_2 - higher_2 * (growth_1 + growth_2)
    usable = np.flatnonzero((higher_2 > 1) & grows & (-log_q > cost_2))
    q = log_q[usable, None]
    log_p = _log_one_minus_exp(q)
    share = (q + cost_2[usable, None]) * (1 - 1 / higher_2[usable, None])
    log_a = log_p - _log_one_minus_exp(share)
    log_b = cost_1[usable, None] - q / (higher_1[usable, None] - 1)
    above = ORDERS - 1
    likely = log_p + above * log_a
    unlikely = q + above * log_b
    bound = np.logaddexp(likely, unlikely) / above
    # the theorem is for orders below the first of those two
    bound[higher_1[usable, None] <= ORDERS] = np.inf
    curves[usable] = np.minimum(curves[usable], bound)
    never = np.isneginf(log_q)
    curves[never] = 0
    return curves


def laplace_by_upset(log_q: Double, pure: float) -> Double:
    """Return curves (B, A) of a mechanism of pure ε = `pure` of which another outcome than the
    first has the probability q (B,): theorem 3 of Papernot et al. 2017."""
    plain = np.minimum(0.5 * pure**2 * ORDERS, pure)
    curves = np.tile(plain, (len(log_q), 1))
    usable = np.flatnonzero(log_q <= -math.log1p(math.exp(pure)))
    q = log_q[usable, None]
    log_p = _log_one_minus_exp(q)
    above = ORDERS - 1
    likely = log_p + above * (log_p - _log_one_minus_exp(pure + q))
    unlikely = q + pure * above
    bound = np.logaddexp(likely, unlikely) / above
    curves[usable] = np.minimum(curves[usable], bound)
    return curves


def _laplace(scale: float) -> Double:
    """The curve (A,) of one count under Laplace noise, of sensitivity 1 (Mironov 2017, table II)."""
    twice = 2 * ORDERS - 1
    up = np.log(ORDERS / twice) + (ORDERS - 1) / scale
    down = np.log((ORDERS - 1) / twice) - ORDERS / scale
    curve: Double = np.logaddexp(up, down) / (ORDERS - 1)
    return curve


def _log_normal_tail(deviations: Double) -> Double:
    # log P[z > x] of a standard normal z, which float64 cannot hold as a probability
    flat = deviations.ravel()
    tails = [_log_tail(float(each)) for each in flat]
    return np.array(tails, np.float64).reshape(deviations.shape)


def _log_tail(x: float) -> float:
    if x < _FAR:
        return math.log(0.5 * math.erfc(x / math.sqrt(2)))
    # Abramowitz & Stegun 26.2.12
    square = x * x
    inverse = 1 / square
    series = -inverse * (1 - 3 * inverse * (1 - 5 * inverse * (1 - 7 * inverse)))
    log_density = -0.5 * x * x - math.log(x) - 0.5 * math.log(2 * math.pi)
    return log_density + math.log1p(series)


def _log_one_minus_exp(log_p: Double) -> Double:
    """Return log(1 − p) of log p ≤ 0; −∞ where p is 1."""
    with np.errstate(divide="ignore"):
        far = np.log1p(-np.exp(np.minimum(log_p, -1.0)))
        near = np.log(-np.expm1(np.maximum(log_p, -1.0)))
    return np.where(log_p < -1, far, near)
