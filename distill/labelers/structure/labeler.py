"""A fitted structure as a labeler, with the structures that it stands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import safetensors.numpy

from distill.core.errors import StorageError
from distill.labelers.base import Inputs, Matrix
from distill.labelers.recipe import Recipe
from distill.labelers.structure.base import FittedStructure
from distill.labelers.structure.kind import load_structure
from distill.models.record import ModelRecord, read_weights
from distill.pools.features import as_matrix
from distill.storage.base import Storage
from distill.storage.open import open_storage


@dataclass(frozen=True)
class StructureLabeler:
    """Rows through a chain of structures, the lowest first: each sees what the one before it
    gives."""

    chain: Sequence[tuple[FittedStructure, str]]
    """Each with what it gives."""

    @classmethod
    def load(cls, recipe: Recipe) -> StructureLabeler:
        """Load a chain from storage, each sha256 checked. Raises StorageError, ContractError."""
        chain: list[tuple[FittedStructure, str]] = []
        link: Recipe | None = recipe
        while link is not None:
            assert link.record is not None
            fitted = read_structure(open_storage(link.folder), link.record)
            chain.insert(0, (fitted, link.gives))
            link = link.before
        return cls(tuple(chain))

    def label(self, features: Inputs) -> Matrix:
        """Return what the last structure gives: (rows, width)."""
        values = as_matrix(features)
        for structure, gives in self.chain:
            values = structure.transform(values, gives)
        return values


def read_structure(folder: Storage, record: ModelRecord) -> FittedStructure:
    """Read a fitted structure. Raises StorageError, also where nothing says how it is read."""
    arrays = safetensors.numpy.load(read_weights(folder, record))
    if record.plan is None:
        raise StorageError(f"{folder.uri}: done.json has no plan of the structure. Restore it.")
    return load_structure(arrays, record.plan)
