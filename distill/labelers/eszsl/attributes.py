"""The attributes of the classes of an ESZSL fit: numbers, or a text a class, embedded by an encoder.

Embeddings have length 1, so that the ridges mean the same whatever encoder made them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distill.labelers.base import Double
from distill.labelers.registry import require_libraries
from distill.labelers.runtime import Runtime
from distill.models.files import ModelFiles, local_model


def class_attributes(rows: Sequence[Sequence[str]], encoder: ModelFiles | None) -> Double:
    """Return the attributes of classes, (classes, a), from their cells as text: numbers, or one text
    each where there is an `encoder`.

    Raises MissingExtraError, LabelerError.
    """
    if encoder is None:
        return np.array(rows, np.float64)
    require_libraries("embedding")
    from distill.labelers.sentences import Encoder

    texts = [row[0] for row in rows]
    runtime = Runtime(local_model(encoder))
    embeddings = Encoder(runtime).embeddings(texts, normalize=True)
    return embeddings.astype(np.float64)
