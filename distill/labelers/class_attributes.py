"""How the classes of a base model are described: attributes as numbers, or a text each, embedded by
an encoder.

Embeddings have length 1, so that the ridges mean the same whatever encoder made them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distill.labelers.registry import require_libraries
from distill.labelers.runtime import Runtime
from distill.models.files import ModelFiles, local_model


def class_attributes(
    rows: Sequence[Sequence[str]], encoder: ModelFiles | None
) -> npt.NDArray[np.float64]:
    """The attributes of classes, (classes, a), from their cells as text: numbers, or one text each
    where there is an `encoder`.

    Raises MissingExtraError, LabelerError.
    """
    if encoder is None:
        return np.array(rows, np.float64)
    require_libraries("embedding")
    from distill.labelers.sentences import Encoder

    texts = [row[0] for row in rows]
    embeddings = Encoder(Runtime(local_model(encoder))).embeddings(texts, normalize=True)
    return embeddings.astype(np.float64)
