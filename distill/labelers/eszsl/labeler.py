"""A fitted ESZSL model as a labeler: one matrix product."""

from __future__ import annotations

import safetensors.numpy

from distill.labelers.base import Inputs, Matrix
from distill.models.record import ModelRecord, read_weights
from distill.pools.features import as_matrix
from distill.storage.open import open_storage


class EszslLabeler:
    """logits = [x, 1] · weight + bias over all described classes."""

    def __init__(self, weight: Matrix, bias: Matrix) -> None:
        self.weight = weight
        self.bias = bias

    @classmethod
    def load(cls, folder: str, record: ModelRecord) -> EszslLabeler:
        """Load it from storage, its sha256 checked. Raises StorageError."""
        storage = open_storage(folder)
        content = read_weights(storage, record)
        tensors = safetensors.numpy.load(content)
        return cls(tensors["weight"], tensors["bias"])

    def label(self, features: Inputs) -> Matrix:
        """Return logits (rows, classes)."""
        rows = as_matrix(features)
        logits: Matrix = rows @ self.weight[:-1] + self.weight[-1] + self.bias
        return logits
