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
    """(n / (C · n_c)) ** power of each class: with power 1 all classes have the same sum over the
    rows. 0 for a class that no row has."""
    share = counts.sum() / (len(counts) * np.maximum(counts, 1))
    return tuple(np.where(counts > 0, share**power, 0.0).tolist())


def row_weights(
    soft: SoftLabels,
    spec: RowWeight,
    contract: Contract,
    temperature: float | None,
    class_weights: tuple[float, ...] | None = None,
) -> Weights:
    """(B,), between 0 and 1, or as `class_weights` have it. `temperature` is that of the labels, 1
    where they have none."""
    if isinstance(spec, ClassBalance):
        assert class_weights is not None
        best = soft.outputs.argmax(axis=1) if isinstance(soft, DenseLabels) else soft.index[:, 0]
        balanced: Weights = np.asarray(class_weights, np.float32)[best]
        return balanced
    if isinstance(spec, Agreement):
        assert soft.disagreement is not None
        agreed: Weights = np.exp(-soft.disagreement / np.float32(spec.scale))
        return agreed
    sure = _independent(soft) if not contract.exclusive else _exclusive(soft, temperature or 1.0)
    return sure ** np.float32(spec.power)


def _exclusive(soft: SoftLabels, temperature: float) -> Weights:
    """The largest probability of each row."""
    if not isinstance(soft, DenseLabels):
        largest: Weights = np.exp(soft.log_probs[:, 0])
        return largest
    below = soft.outputs - soft.outputs.max(axis=1, keepdims=True)
    made: Weights = 1 / np.exp(below / np.float32(temperature)).sum(axis=1)
    return made


def _independent(soft: SoftLabels) -> Weights:
    """The mean over outputs of the larger of p and 1 − p."""
    assert isinstance(soft, DenseLabels)
    made: Weights = (1 / (1 + np.exp(-np.abs(soft.outputs)))).mean(axis=1)
    return made
