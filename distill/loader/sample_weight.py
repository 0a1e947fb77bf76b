"""How much each row counts within a term's mean: by how far an ensemble's members agree on it, by
how sure the labeler is of it, or by how rare its class is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distill.labels.contract import Contract
from distill.labels.encoding import DenseLabels, SoftLabels
from distill.spec.students import Agreement, ClassBalance, RowWeight

Weights = npt.NDArray[np.float32]


def balancing_weights(counts: npt.NDArray[np.int64], power: float) -> tuple[float, ...]:
    """Return (n / (C · n_c)) ** power of each class: with power 1 all classes have the same sum
    over the rows. 0 for a class that no row has."""
    # at least 1: a class without rows shall be no division by 0
    shares = counts.sum() / (len(counts) * np.maximum(counts, 1))
    weights = np.where(counts > 0, shares**power, 0.0)
    return tuple(weights.tolist())


def group_balancing_weights(counts: npt.NDArray[np.int64], power: float) -> tuple[float, ...]:
    """Return the same of groups, where those that no row has make no other's weight smaller."""
    weights = np.zeros(len(counts))
    used = np.flatnonzero(counts)
    weights[used] = balancing_weights(counts[used], power)
    return tuple(weights.tolist())


def row_weights(
    soft: SoftLabels,
    spec: RowWeight,
    contract: Contract,
    temperature: float | None,
    class_weights: tuple[float, ...] | None = None,
) -> Weights:
    """Return the weight of each row (B,), between 0 and 1, or as `class_weights` have it.
    `temperature` is that of the labels, 1 where they have none."""
    if isinstance(spec, ClassBalance):
        assert class_weights is not None
        balance: Weights = np.asarray(class_weights, np.float32)[_best_class(soft)]
        return balance
    if isinstance(spec, Agreement):
        return _agreement(soft, spec.scale)
    power = np.float32(spec.power)
    if contract.exclusive:
        return _largest_probability(soft, temperature or 1.0) ** power
    return _mean_certainty(soft) ** power


def _best_class(soft: SoftLabels) -> npt.NDArray[np.int64]:
    """The class (B,) with the largest logit."""
    if isinstance(soft, DenseLabels):
        best: npt.NDArray[np.int64] = soft.outputs.argmax(axis=1)
        return best
    return soft.index[:, 0]


def _agreement(soft: SoftLabels, scale: float) -> Weights:
    """exp(−disagreement / scale)."""
    assert soft.disagreement is not None
    weights: Weights = np.exp(-soft.disagreement / np.float32(scale))
    return weights


def _largest_probability(soft: SoftLabels, temperature: float) -> Weights:
    """The largest probability of each row, of exclusive classes."""
    if not isinstance(soft, DenseLabels):
        # the first of the top k is the largest
        largest: Weights = np.exp(soft.log_probs[:, 0])
        return largest
    # 1 / Σ exp(z − max) is the softmax at the maximum, and no exponential overflows
    below_BC = soft.outputs - soft.outputs.max(axis=1, keepdims=True)
    odds_BC = np.exp(below_BC / np.float32(temperature))
    probabilities: Weights = 1 / odds_BC.sum(axis=1)
    return probabilities


def _mean_certainty(soft: SoftLabels) -> Weights:
    """The mean over independent outputs of the larger of p and 1 − p."""
    assert isinstance(soft, DenseLabels)
    # σ(|z|) is the larger of σ(z) and 1 − σ(z)
    larger_BC = 1 / (1 + np.exp(-np.abs(soft.outputs)))
    means: Weights = larger_BC.mean(axis=1)
    return means
