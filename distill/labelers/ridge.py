"""The algebra of ESZSL: sums over rows, and the two ridge problems that they answer. x is a row of
d features and a constant 1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from distill.labelers.base import Matrix

Double = npt.NDArray[np.float64]

_BLOCK_BYTES = 32 << 20


def blocks(rows: int, width: int) -> Iterator[slice]:
    """All rows, as many at once as `width` doubles each take of a bounded temporary."""
    step = max(1, _BLOCK_BYTES // (8 * width))
    return (slice(start, start + step) for start in range(0, rows, step))


def with_constant(features: Matrix) -> Double:
    """(n, d) → (n, d + 1)."""
    return np.hstack([features.astype(np.float64), np.ones((len(features), 1))])


def moments(
    features: Matrix, target: npt.NDArray[np.int64], weights: Double
) -> tuple[Double, Double]:
    """Σ w·x·xᵀ (d + 1, d + 1), and Σ w·x of each class (z, d + 1), whose last column counts.
    `weights` (z,) are of the classes' rows."""
    width, roots = features.shape[1] + 1, np.sqrt(weights)
    gram, sums = np.zeros((width, width)), np.zeros((len(weights), width))
    for part in blocks(len(features), width):
        order = np.argsort(target[part], kind="stable")
        of = target[part][order]
        x = with_constant(features[part][order]) * roots[of][:, None]
        gram += x.T @ x
        starts = np.flatnonzero(np.diff(of, prepend=-1))
        sums[of[starts]] += np.add.reduceat(x, starts, axis=0)
    return gram, sums * roots[:, None]


def feature_side(
    gram: Double, sums: Double, known: Double, ridges: tuple[float, ...]
) -> list[Double]:
    """(XᵀX + γ·n·I)⁻¹ XᵀY S for each γ: (d + 1, a). `sums` (z, d + 1) are of the classes that
    `known` (z, a) describes."""
    right, rows = sums.T @ known, float(gram[-1, -1])
    return [_solve(gram, ridge * rows, right) for ridge in ridges]


def attribute_side(known: Double, described: Double, ridges: tuple[float, ...]) -> list[Double]:
    """(SᵀS + λI)⁻¹ S_allᵀ for each λ: (a, classes). `known` (z, a) are the attributes S,
    `described` (classes, a) those of S_all."""
    return [_solve(known.T @ known, ridge, described.T) for ridge in ridges]


def _solve(square: Double, ridge: float, right: Double) -> Double:
    """(square + ridge·I)⁻¹ right. Faster than one eigendecomposition for all ridges where those are
    few (at d = 1,024: 0.05 and 0.22 s)."""
    raised = square.copy()
    raised.flat[:: len(square) + 1] += ridge
    return np.asarray(np.linalg.solve(raised, right), np.float64)
