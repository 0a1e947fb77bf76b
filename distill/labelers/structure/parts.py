"""Sums of rows that are merged without loss: plain totals, and moments about the rows' own mean.

Moments are merged as by Chan, Golub & LeVeque 1983: with δ = mean_b − mean_a,

    Σ (x − mean)(x − mean)ᵀ = the one of a + the one of b + δδᵀ·n_a·n_b / (n_a + n_b)

so no row is ever compared with a mean that is far from it, and one pass is enough. All sums are
float64: of float32 rows their squares are exact in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from distill.labelers.base import Double, Matrix
from distill.labelers.eszsl.ridge import blocks
from distill.labelers.structure.base import Array, Int64
from distill.labelers.structure.rows import uniform

_ROUNDING = 1e-11
"""Of a mark, beside its size: sums of equal columns may be vectorised differently."""


@dataclass(frozen=True)
class Total:
    """A sum over rows."""

    values: Array

    def merge(self, other: Total) -> Total:
        """Return the sum over both's rows."""
        return Total(self.values + other.values)


@dataclass(frozen=True)
class Columns:
    """What is known of each column."""

    rows: int
    mean: Double
    """(d,)."""
    square: Double
    """(d,): Σ (x − mean)²."""
    low: Matrix
    high: Matrix
    """(d,): the smallest and the largest number; infinite where there is no row."""
    mark: Double
    """(d,): Σ u·x, u being drawn for each row: columns that share it are equal."""

    @property
    def is_constant(self) -> Array:
        """(d,): whether all rows have the same number there."""
        return np.equal(self.low, self.high)

    def merge(self, other: Columns) -> Columns:
        """Return the same of both's rows."""
        rows, mean, factor = _means(self, other)
        square = self.square + other.square
        square += (other.mean - self.mean) ** 2 * factor
        low = np.minimum(self.low, other.low)
        high = np.maximum(self.high, other.high)
        return Columns(rows, mean, square, low, high, self.mark + other.mark)

    def duplicates(self) -> list[tuple[int, int]]:
        """Return pairs of equal columns that are not constant, by their numbers."""
        order = np.lexsort((self.mark, self.high, self.low))
        size = np.abs(self.mark) + np.maximum(np.abs(self.low), np.abs(self.high))
        pairs = []
        for before, after in pairwise(order.tolist()):
            is_near = abs(self.mark[before] - self.mark[after]) <= _ROUNDING * size[after]
            has_ends = self.low[before] == self.low[after] and self.high[before] == self.high[after]
            if is_near and has_ends and not self.is_constant[after]:
                pairs.append((min(before, after), max(before, after)))
        return sorted(pairs)


@dataclass(frozen=True)
class Scatter:
    """Σ (x − mean)(x − mean)ᵀ D."""

    rows: int
    mean: Double
    """(d,)."""
    product: Double
    """(d, c)."""
    directions: Double | None = None
    """D: (d, c); None for the identity."""

    def merge(self, other: Scatter) -> Scatter:
        """Return the same of both's rows."""
        rows, mean, factor = _means(self, other)
        between = other.mean - self.mean
        right = between if self.directions is None else between @ self.directions
        product = self.product + other.product
        product += np.outer(between * factor, right)
        return Scatter(rows, mean, product, self.directions)


def columns_of(values: Matrix, row: Int64) -> Columns:
    """Return what rows (B, d) of these numbers (B,) say of their columns."""
    mean = _mean(values)
    square = np.zeros(len(mean))
    mark = np.zeros(len(mean))
    weights = uniform(0, 0, row)
    for block in blocks(len(values), len(mean)):
        doubles = values[block].astype(np.float64)
        mark += weights[block] @ doubles
        doubles -= mean
        square += np.einsum("ij,ij->j", doubles, doubles)
    low = values.min(axis=0, initial=np.inf)
    high = values.max(axis=0, initial=-np.inf)
    return Columns(len(values), mean, square, low, high, mark)


def scatter_of(values: Matrix, directions: Double | None = None) -> Scatter:
    """Return the scatter of rows (B, d), by directions (d, c) or whole."""
    mean = _mean(values)
    width = len(mean) if directions is None else directions.shape[1]
    product = np.zeros((len(mean), width))
    for block in blocks(len(values), len(mean)):
        centred = values[block] - mean
        # of the same array numpy computes one half of the product: its BLAS's syrk
        right = centred if directions is None else centred @ directions
        product += centred.T @ right
    return Scatter(len(values), mean, product, directions)


def _mean(values: Matrix) -> Double:
    total: Double = values.sum(axis=0, dtype=np.float64)
    return total / max(1, len(values))


def _means(first: Columns | Scatter, second: Columns | Scatter) -> tuple[int, Double, float]:
    """Return the rows of both, their mean, and n_a·n_b / (n_a + n_b)."""
    rows = first.rows + second.rows
    share = second.rows / max(1, rows)
    mean = first.mean + (second.mean - first.mean) * share
    return rows, mean, first.rows * share
