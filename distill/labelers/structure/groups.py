"""The groups that a structure puts rows into: the clusters of a k-means, the units of a map, or what a
structure from outside says of itself (`FittedStructure.groups`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from distill.labelers.base import Double, Matrix
from distill.labelers.structure.base import FittedStructure, Int64
from distill.labelers.structure.rows import unit_length

SHOWN_GROUPS = 12


@dataclass(frozen=True)
class Groups:
    """k groups."""

    structure: FittedStructure
    gives: str
    """What tells a row's group, by its number."""
    centres: Double
    """(k, d): of what the structure sees."""
    sizes: Int64
    """(k,): rows of all the pool that it was fitted on."""
    spherical: bool = False
    """Whether rows of length 1 are compared with the centres."""

    @cached_property
    def shown(self) -> Int64:
        """The largest that have rows, the largest first."""
        order = np.argsort(-self.sizes, kind="stable")[:SHOWN_GROUPS]
        largest: Int64 = order[self.sizes[order] > 0]
        return largest

    def compared(self, values: Matrix) -> Matrix:
        """Return rows as they are compared with the centres."""
        return unit_length(values) if self.spherical else values

    def of(self, values: Matrix) -> Int64:
        """Return the group of each row."""
        return self.structure.transform(values, self.gives)[:, 0].astype(np.int64)
