"""How a labeler's answers are compared."""

from __future__ import annotations

import numpy as np

from distill.labelers.base import predict


def as_features(texts):
    """Texts as a pool's rows are decoded to."""
    made = np.empty(len(texts), object)
    made[:] = texts
    return made


def log_softmax(logits):
    """Over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def answers(labeler, features, width):
    """The labeler's answers, and that neither order nor company of the rows decides them."""
    together = predict(labeler, features, width).outputs
    backwards = predict(labeler, features[::-1].copy(), width).outputs[::-1]
    alone = np.concatenate(
        [predict(labeler, features[row : row + 1], width).outputs for row in range(len(features))]
    )
    np.testing.assert_allclose(backwards, together, atol=1e-4)
    np.testing.assert_allclose(alone, together, atol=1e-4)
    return together
