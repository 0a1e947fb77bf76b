"""A sentence-transformers model as a zero-shot classifier: cosine of a text's embedding to those of
the classes' descriptions.

With u(x) the unit embedding of a text and v(c) that of a class, the unit mean over templates of the
units of its description:

    logit(c | x) = u(x) · v(c) / temperature

Radford et al. 2021, eq. in fig. 3 and section 3.1.4 (ensembled prompts).
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from distill.labelers.base import Inputs, Labeler, Matrix
from distill.labelers.encoder import ENCODER_LIBRARIES, Encoder
from distill.labelers.kind import Classes, ModelLabelerKind
from distill.labelers.runtime import Runtime
from distill.labelers.transformer import as_texts
from distill.labelers.validation import require_one_each


class Similarity(ModelLabelerKind):
    """A sentence-transformers model as a zero-shot classifier: cosine of a text's embedding to
    those of the classes' descriptions."""

    reads = "text"
    libraries = ENCODER_LIBRARIES
    extra = "text"
    uses_torch = True

    kind: Literal["similarity"]
    classes: Classes
    descriptions: tuple[str, ...] | None = None
    """What is put for each class instead of its name."""
    templates: Annotated[tuple[str, ...], Field(min_length=1)] = ("{}",)
    """A class is the mean of its embeddings in all of these. Radford et al. 2021, 3.1.4."""
    temperature: Annotated[float, Field(ge=1e-4, le=1e4)] = 0.05
    """Logits are cosines over this."""

    @model_validator(mode="after")
    def _template(self) -> Similarity:
        for template in self.templates:
            if template.count("{}") != 1:
                message = f"templates: {template!r} must have one {{}}, where the class stands"
                raise ValueError(message)
        require_one_each(self.classes, self.descriptions)
        return self

    def build(self, runtime: Runtime) -> Labeler:
        return SimilarityLabeler(self, runtime)


class SimilarityLabeler:
    """Cosine to every class."""

    def __init__(self, spec: Similarity, runtime: Runtime) -> None:
        self.encoder = Encoder(runtime)
        self.temperature = spec.temperature
        self.classes = _class_embeddings(self.encoder, spec)  # (classes, width), each of length 1

    def label(self, features: Inputs) -> Matrix:
        """Return (rows, classes) logits."""
        texts = as_texts(features)
        units = self.encoder.embeddings(texts, normalize=True)
        cosines = units @ self.classes.T
        logits: Matrix = cosines / self.temperature
        return logits


def _class_embeddings(encoder: Encoder, spec: Similarity) -> Matrix:
    """Return the unit mean over templates of each class: (classes, width)."""
    texts = spec.descriptions or spec.classes
    filled = [template.replace("{}", text) for text in texts for template in spec.templates]
    units = encoder.embeddings(filled, normalize=True)
    # the mean of unit embeddings is shorter than 1, the more the templates differ
    means = units.reshape(len(texts), len(spec.templates), -1).mean(axis=1)
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    embeddings: Matrix = means / norms
    return embeddings
