"""`pca`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from distill.labelers.structure.base import Arrays, FittedStructure, PassFit, Plain
from distill.labelers.structure.kind import StructureKind
from distill.spec.base import Positive
from distill.spec.structures import StructureOutput

EXACT_WIDTH = 8_192
"""Numbers of a row up to which `exact` is allowed: its matrix then takes 512 MiB."""


class Pca(StructureKind):
    """Principal components: the directions in which rows differ most."""

    gives = ("coordinates",)
    features = "coordinates"

    kind: Literal["pca"]
    components: Positive
    """How many, those of the largest variance first."""
    whiten: bool = False
    """Whether each coordinate is divided by its standard deviation."""
    solver: Literal["exact", "randomized"] = "exact"
    """`exact`: the covariance of all columns, in one pass. `randomized`: a few directions, turned
    towards the components by each pass (Halko et al. 2011), for rows of many numbers."""
    passes: Annotated[int, Field(ge=2, le=1_000)] = 5
    """Of `randomized`; `exact` takes one."""

    def output(self, gives: str) -> StructureOutput:  # noqa: ARG002  it gives one thing
        return StructureOutput(self.components)

    def misfits(self, width: int, rows: int) -> Iterator[str]:
        if self.components > width:
            yield (
                f"components = {self.components}: a row has {width} numbers, and no more"
                f" components. Set it to {width} or fewer."
            )
        if self.components > rows:
            yield (
                f"components = {self.components}: there are {rows} rows, which differ in no more"
                f" than {max(0, rows - 1)} directions. Set it to fewer, or add rows."
            )
        if self.solver == "exact" and width > EXACT_WIDTH:
            gigabytes = 8 * width**2 / 1e9
            yield (
                f'solver = "exact": the covariance of {width:,} columns takes {gigabytes:,.1f} GB'
                ' a worker. Set solver = "randomized".'
            )

    def fit(self, seed: int, where: str) -> PassFit:
        raise NotImplementedError

    @classmethod
    def load(cls, arrays: Arrays, plain: Plain) -> FittedStructure:
        raise NotImplementedError
