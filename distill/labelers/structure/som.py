"""`som`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.labelers.structure.base import Arrays, FittedStructure, PassFit, Plain
from distill.labelers.structure.kind import StructureKind
from distill.spec.base import Positive
from distill.spec.structures import StructureOutput

_Side = Annotated[int, Field(ge=1, le=1_000)]


class Som(StructureKind):
    """A self-organising map: units on a grid, neighbours alike (batch algorithm, Kohonen 1990)."""

    gives = ("position", "unit")
    features = "position"

    kind: Literal["som"]
    rows: _Side
    columns: _Side
    grid: Literal["rectangular", "hexagonal"] = "hexagonal"
    passes: Positive = 20
    """After the one that the start is drawn from."""
    radius: Annotated[float, Field(gt=0)] | None = None
    """How far a row moves units around its own at first, in units of the grid: the standard
    deviation of a Gaussian. Default: half of the longer side."""
    last_radius: Annotated[float, Field(gt=0)] = 0.5
    """The same in the last pass; between them it falls by one factor a pass."""

    @model_validator(mode="after")
    def _more_than_one_unit(self) -> Som:
        if self.rows * self.columns < 2:
            raise ValueError("rows = 1, columns = 1: a map has two units at the least")
        return self

    def output(self, gives: str) -> StructureOutput:
        width = {"position": 2, "unit": 1}[gives]
        return StructureOutput(width)

    def fit(self, seed: int, where: str) -> PassFit:
        raise NotImplementedError

    @classmethod
    def load(cls, arrays: Arrays, plain: Plain) -> FittedStructure:
        raise NotImplementedError
