"""Mean and spread of values that may lie far from 0, added up without losing their digits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Of (B, W): B, the means (W,), and Σ (value − mean)² (W,)."""

    rows: int
    mean: Array
    spread: Array

    @classmethod
    def of(cls, values: Array) -> Moments:
        """Return the moments of one chunk."""
        # from the first row on, so that what does not move has a spread of exactly 0
        leading = values[:1]
        first = leading.sum(axis=0)
        mean = first + (values - first).sum(axis=0) / max(len(values), 1)
        apart = values - mean
        squares = np.square(apart)
        return cls(len(values), mean, squares.sum(axis=0))

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of two sets of rows (Chan, Golub & LeVeque 1979, eq. 2.1)."""
        # E[y²] − E[y]² would lose them where the mean is far from 0
        rows = self.rows + other.rows
        share = other.rows / max(rows, 1)
        gap = other.mean - self.mean
        spread = self.spread + other.spread + np.square(gap) * share * self.rows
        return Moments(rows, self.mean + gap * share, spread)
