"""Embeddings by a sentence-transformers model as values to learn."""

from __future__ import annotations

from typing import Literal

from distill.labelers.base import Inputs, Labeler, Matrix
from distill.labelers.encoder import ENCODER_LIBRARIES, Encoder
from distill.labelers.kind import ModelLabelerKind
from distill.labelers.runtime import Runtime
from distill.labelers.transformer import as_texts
from distill.labelers.validation import require_width
from distill.spec.base import Positive


class Embedding(ModelLabelerKind):
    """Embeddings by a sentence-transformers model."""

    reads = "text"
    libraries = ENCODER_LIBRARIES
    extra = "text"
    uses_torch = True

    kind: Literal["embedding"]
    width: Positive
    """Numbers of an embedding."""
    normalize: bool = False
    """Scale each to length 1."""

    def build(self, runtime: Runtime) -> Labeler:
        return EmbeddingLabeler(self, runtime)


class EmbeddingLabeler:
    """The embeddings themselves, as values."""

    def __init__(self, spec: Embedding, runtime: Runtime) -> None:
        self.encoder = Encoder(runtime)
        self.normalize = spec.normalize
        require_width(spec.kind, spec.width, self.encoder.width)

    def label(self, features: Inputs) -> Matrix:
        """Return (rows, width)."""
        texts = as_texts(features)
        return self.encoder.embeddings(texts, normalize=self.normalize)
