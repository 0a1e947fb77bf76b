"""Sums of many blocks of numbers, once for each replicate of the bootstrap."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.stages.evaluate.resampling import Draws, resampled, stacked

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Replicates:
    """Blocks by name and the shape of a row of each, laid side by side: (R, K)."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    values: Array

    @classmethod
    def of(cls, draws: Draws, blocks: Mapping[str, Array]) -> Replicates:
        """Return the sums over rows of draws (B, R) times blocks (B, …)."""
        shapes = tuple((name, each.shape[1:] or (1,)) for name, each in blocks.items())
        # one product for all blocks: the draws are read once
        return cls(shapes, resampled(draws, stacked(list(blocks.values()))))

    def __add__(self, other: Replicates) -> Replicates:
        return Replicates(self.shapes, self.values + other.values)

    def sums(self) -> dict[str, Array]:
        """Return the blocks (R, …) by name."""
        found = {}
        start = 0
        for name, shape in self.shapes:
            numbers = math.prod(shape)
            stop = start + numbers
            found[name] = self.values[:, start:stop].reshape(-1, *shape)
            start = stop
        return found
