"""How a labeler's answers are compared."""

from __future__ import annotations

import numpy as np

from distill.labelers.base import predict
from distill.labelers.embedding import Embedding
from distill.labelers.runtime import Runtime
from distill.models.files import identify_model


def as_features(texts):
    """Texts as a pool's rows are decoded to."""
    made = np.empty(len(texts), object)
    made[:] = texts
    return made


def build(kind, model, **runtime):
    """The labeler of a table, of the model in a file or folder of this machine."""
    files = identify_model(str(model), None, "the test's model")
    return kind.build(Runtime(files=files, **runtime))


def embedding(model, **keys):
    """A labeler of a sentence-transformers model's embeddings."""
    return build(Embedding(kind="embedding", model="m", **keys), model)


def sentence_library(folder):
    """The model as its library opens it."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


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
