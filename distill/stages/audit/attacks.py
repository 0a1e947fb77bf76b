"""Scores of membership: the larger, the more a row looks as if it had taught the model.

    loss           −loss of the row (Yeom, Giacomelli, Fredrikson & Jha 2018)
    lira_online    log N(φ; μ_in, σ_in) − log N(φ; μ_out, σ_out)
    lira_offline   (φ − μ_out) / σ_out

The latter two are the likelihood-ratio attack (Carlini, Chien, Nasr, Song, Terzis & Tramèr 2022,
Algorithm 1 and equation 4): shadow models that were taught the row, and shadow models that were
not, say what confidence φ to expect of either. Each row has as many of both, since shadows come in
pairs that share the rows. A spread is each row's own from `_OWN_SPREAD` shadows a side on, and the
same for all rows with fewer, as the paper does it.

φ is the logit of the probability of the right class, log p − log(1 − p), which is about normal over
shadows; of independent outputs their sum; of values −log of the squared error.

Shapes: R rows, S shadows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.core.audit_results import LIRA_OFFLINE, LIRA_ONLINE, LOSS
from distill.spec.outputs import Outputs

Double = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_OWN_SPREAD = 32
_LEAST_SHARE = 1e-30
"""A probability or a squared error below is taken for this."""
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Signals:
    """What a model says of rows."""

    confidence: Double
    """φ, (R,)."""
    loss: Double
    """(R,)."""

    def of(self, rows: Bool) -> Signals:
        """Return those of some rows."""
        return Signals(self.confidence[rows], self.loss[rows])


def signals(predicted: Double, target: npt.NDArray[np.generic], truth: Outputs) -> Signals:
    """Return the signals of R rows, of their probabilities or values (R, C) and their target."""
    if truth.kind == "value":
        values = target.astype(np.float64).reshape(len(target), -1)
        squares = ((predicted - values) ** 2).mean(axis=1)
        return Signals(-np.log(np.maximum(squares, _LEAST_SHARE)), squares)
    if not truth.exclusive:
        flags = target.astype(np.float64)
        right = flags * predicted + (1 - flags) * (1 - predicted)
        wrong = flags * (1 - predicted) + (1 - flags) * predicted
        return Signals((_log(right) - _log(wrong)).sum(axis=1), -_log(right).sum(axis=1))
    place = np.arange(len(target)), target.astype(np.int64)
    right = predicted[place]
    others = predicted.copy()
    # summed without it: 1 − p has no digits left where p is near 1
    others[place] = 0
    return Signals(_log(right) - _log(others.sum(axis=1)), -_log(right))


def _log(share: Double) -> Double:
    logs: Double = np.log(np.maximum(share, _LEAST_SHARE))
    return logs


def attack_scores(target: Signals, shadows_SR: Double, taught_SR: Bool) -> dict[str, Double]:
    """Return the scores (R,) of each attack; of the loss alone where there are no shadows."""
    scores = {LOSS: -target.loss}
    if not len(shadows_SR):
        return scores
    inside = _normal(shadows_SR, taught_SR)
    outside = _normal(shadows_SR, ~taught_SR)
    phi_R = target.confidence
    scores[LIRA_ONLINE] = inside.log_density(phi_R) - outside.log_density(phi_R)
    scores[LIRA_OFFLINE] = (phi_R - outside.mean) / outside.spread
    return scores


@dataclass(frozen=True)
class _Normal:
    mean: Double
    spread: Double

    def log_density(self, phi_R: Double) -> Double:
        """Return it but for a constant."""
        distance = (phi_R - self.mean) / self.spread
        density: Double = -0.5 * distance**2 - np.log(self.spread)
        return density


def _normal(phi_SR: Double, chosen_SR: Bool) -> _Normal:
    """Return mean and spread of each row over the shadows that are chosen for it."""
    count_R = chosen_SR.sum(axis=0)
    mean_R = np.where(chosen_SR, phi_SR, 0).sum(axis=0) / count_R
    squares = np.where(chosen_SR, (phi_SR - mean_R) ** 2, 0).sum(axis=0)
    variance_R = squares / np.maximum(count_R - 1, 1)
    if count_R.min() < _OWN_SPREAD:
        variance_R = np.full(len(mean_R), variance_R.mean())
    return _Normal(mean_R, np.maximum(np.sqrt(variance_R), _LEAST_SPREAD))
