"""How little sure stored labels are of each row (Settles 2009, "Active learning literature survey",
§3.1). More is less sure.

    entropy       −Σ p log p over classes; of a set that keeps the top k, all others together count
                  as one class; of independent outputs the sum over them
    margin        1 − (p₁ − p₂) of the two likeliest classes; of independent outputs the largest
                  1 − |2p − 1|
    disagreement  how far the members of an ensemble disagree, as it is stored
"""

from __future__ import annotations

import numpy as np

from distill.labelers.base import probabilities_of
from distill.labels.encoding import DenseLabels, SoftLabels
from distill.spec.outputs import Outputs
from distill.stages.select.candidates import Float64


def uncertainty(
    labels: SoftLabels, measure: str, temperature: float, *, exclusive: bool
) -> Float64:
    """Return how little sure labels are of each row (B,); whatever in rows that are not labelled."""
    if measure == "disagreement":
        assert labels.disagreement is not None
        return labels.disagreement.astype(np.float64)
    if isinstance(labels, DenseLabels):
        logits = labels.outputs.astype(np.float64) / temperature
        meaning = Outputs("logits", exclusive=exclusive)
        probabilities = probabilities_of(logits, meaning)
    else:
        probabilities = np.exp(labels.log_probs.astype(np.float64))
    if measure == "margin":
        return _margin(probabilities, exclusive=exclusive)
    if exclusive:
        if not isinstance(labels, DenseLabels):
            known = probabilities.sum(axis=1, keepdims=True)
            unknown = 1.0 - known
            parts = [probabilities, unknown]
            probabilities = np.concatenate(parts, axis=1)
        return _sums(_surprise(probabilities))
    return _sums(_surprise(probabilities) + _surprise(1.0 - probabilities))


def _sums(numbers: Float64) -> Float64:
    found: Float64 = numbers.sum(axis=1)
    return found


def _surprise(probabilities: Float64) -> Float64:
    """−p log p, and 0 where p is 0."""
    clipped = np.clip(probabilities, 1e-300, 1.0)
    return -clipped * np.log(clipped)


def _margin(probabilities: Float64, *, exclusive: bool) -> Float64:
    if not exclusive:
        sureness = np.abs(2.0 * probabilities - 1.0)
        least: Float64 = sureness.min(axis=1)
        return 1.0 - least
    if probabilities.shape[1] < 2:
        # a set that keeps the likeliest class alone: the second may have all of the rest
        rest = 1.0 - probabilities[:, 0]
        doubled = 2.0 * rest
        return np.minimum(1.0, doubled)
    likeliest = np.sort(probabilities, axis=1)[:, -2:]
    gap: Float64 = likeliest[:, 1] - likeliest[:, 0]
    return 1.0 - gap
