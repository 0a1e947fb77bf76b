"""Rows as a structure sees them: those that a fit, a look and a measure of drift count alike."""

from __future__ import annotations

import numpy as np

from distill.labelers.base import Matrix
from distill.labelers.structure.base import Int64
from distill.labelers.structure.labeler import StructureLabeler
from distill.loader.dataset import Dataset
from distill.loader.sampler import Chunk


def usable_rows(dataset: Dataset, before: StructureLabeler, chunk: Chunk) -> tuple[Matrix, Int64]:
    """Read the rows of a chunk through the structures below, and their numbers in the dataset; no
    rejected ones. Raises PoolError, StorageError, ContractError."""
    features, row = dataset.usable(chunk)
    # numbers near the largest of float32 may have no finite image
    with np.errstate(over="ignore", invalid="ignore"):
        values = before.label(features)
    if not before.chain:
        return values, row
    finite = np.isfinite(values).all(axis=1)
    if finite.all():
        return values, row
    return values[finite], row[finite]
