"""`kmeans`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from distill.labelers.structure.base import Arrays, FittedStructure, PassFit, Plain
from distill.labelers.structure.kind import StructureKind
from distill.spec.base import Positive
from distill.spec.structures import StructureOutput

TWO_LEVELS_FROM = 10_000
"""Clusters from which they are found by two levels, where the table does not say."""


class Kmeans(StructureKind):
    """Clusters of rows around k centres (Lloyd 1982)."""

    gives = ("cluster", "soft", "distances")
    features = "distances"

    kind: Literal["kmeans"]
    k: Annotated[int, Field(ge=2, le=10_000_000)]
    """Clusters. One would say nothing of a row, so 2 is the fewest."""
    passes: Positive = 25
    """The most, after the start."""
    tolerance: Annotated[float, Field(ge=0)] = 1e-4
    """Passes end where the centres move by no more than this in all (the sum of squares, over the
    mean variance of a column)."""
    start: Literal["k-means||", "random"] = "k-means||"
    """`k-means||`: rows far from those that were drawn before are drawn more often, in a few passes
    (Bahmani et al. 2012). `random`: k rows, in one pass."""
    spherical: bool = False
    """Whether rows and centres are brought to length 1 first, so that cosines are compared."""
    sample_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The share of rows that a pass counts, another one each (mini-batch)."""
    levels: Literal[1, 2] | None = None
    """2: about √k clusters first, then clusters within each, so that a row is compared with some
    2·√k centres. Default: 2 for k of 10,000 and more."""

    @property
    def is_two_level(self) -> bool:
        """Whether clusters are found within clusters."""
        levels = self.levels or (2 if self.k >= TWO_LEVELS_FROM else 1)
        return levels == 2

    def output(self, gives: str) -> StructureOutput:
        if gives == "cluster":
            return StructureOutput(1)
        if gives == "distances":
            return StructureOutput(self.k)
        names = tuple(map(str, range(self.k)))
        return StructureOutput(self.k, names)

    def misfits(self, width: int, rows: int) -> Iterator[str]:  # noqa: ARG002  of any width
        if self.k > rows:
            yield (
                f"k = {self.k}: there are {rows} rows, fewer than clusters. Set it to fewer, or"
                " add rows."
            )

    def fit(self, seed: int, where: str) -> PassFit:
        raise NotImplementedError

    @classmethod
    def load(cls, arrays: Arrays, plain: Plain) -> FittedStructure:
        raise NotImplementedError
