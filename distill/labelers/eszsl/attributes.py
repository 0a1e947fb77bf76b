"""The attributes of an ESZSL fit's classes: numbers, or a text each that an encoder embeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distill.labelers.base import Double
from distill.labelers.embedding import Embedding
from distill.labelers.encoder import Encoder
from distill.labelers.runtime import Runtime
from distill.models.files import ModelFiles


def class_attributes(rows: Sequence[Sequence[str]], encoder: ModelFiles | None) -> Double:
    """Return the attributes of classes, (classes, a), from their cells as text: numbers, or one
    text each where there is an `encoder`.

    Raises MissingExtraError, LabelerError."""
    if encoder is None:
        # numpy reads numbers from text
        return np.array(rows, np.float64)
    Embedding.require_libraries()
    runtime = Runtime(files=encoder)
    texts = [row[0] for row in rows]
    # of length 1, so that the ridges mean the same whatever encoder made them
    embeddings = Encoder(runtime).embeddings(texts, normalize=True)
    return embeddings.astype(np.float64)
