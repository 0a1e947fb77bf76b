"""What a kind of structure derives from: one class in one file, its table in the job file, the fit
that it means, and what was fitted, loaded again."""

from __future__ import annotations

from abc import abstractmethod

from distill.core.errors import ContractError
from distill.labelers.structure.base import Arrays, FittedStructure, PassFit, Plain
from distill.spec.structures import StructureModel


class StructureKind(StructureModel):
    """A structure that the job file describes, and how it is fitted."""

    @abstractmethod
    def fit(self, seed: int, where: str) -> PassFit:
        """Return the fit by passes. `where` is the structure's key, `structure.NAME`, for
        messages."""

    @classmethod
    @abstractmethod
    def load(cls, arrays: Arrays, plain: Plain) -> FittedStructure:
        """Build what was fitted again."""


def fit_of(model: StructureModel, seed: int, where: str) -> PassFit:
    """Return the fit that a table means; `where` is `structure.NAME`."""
    assert isinstance(model, StructureKind), "every kind that is registered has a fit"
    return model.fit(seed, where)


def fit_on(fit: PassFit, device: str) -> PassFit:
    """Return the fit whose passes compute on a device, if its kind can."""
    on = getattr(fit, "on", None)
    if device == "cpu" or on is None:
        return fit
    moved: PassFit = on(device)
    return moved


def load_structure(arrays: Arrays, plain: Plain) -> FittedStructure:
    """Build a fitted structure of what was stored of it. Raises ContractError for a kind that is
    not known here."""
    kinds = StructureModel.kinds()
    kind = kinds.get(plain["kind"])
    if kind is None or not issubclass(kind, StructureKind):
        raise ContractError(
            f"a stored structure has kind = {plain['kind']!r}, and this process knows"
            f" {', '.join(kinds)}. Name the file that has its kind in the job's `plugins`."
        )
    return kind.load(arrays, plain)
