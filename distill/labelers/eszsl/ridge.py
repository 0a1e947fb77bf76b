"""The algebra of ESZSL: sums over rows, and the two ridge problems that they answer. x is a row of
d features and a constant 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from distill.labelers.base import Double, Matrix

_BLOCK_BYTES = 32 << 20


def blocks(rows: int, width: int) -> Iterator[slice]:
    """Cut all rows into blocks that take, at `width` doubles a row, a bounded temporary."""
    row_bytes = 8 * width
    fitting = _BLOCK_BYTES // row_bytes
    step = max(1, fitting)
    for start in range(0, rows, step):
        stop = start + step
        yield slice(start, stop)


def with_constant(features: Matrix) -> Double:
    """Return rows with a constant 1 at their end: (n, d) → (n, d + 1)."""
    rows = features.astype(np.float64)
    count = len(rows)
    shape = (count, 1)
    ones = np.ones(shape)
    columns = [rows, ones]
    return np.hstack(columns)


def moments(
    features: Matrix, target: npt.NDArray[np.int64], weights: Double
) -> tuple[Double, Double]:
    """Sum rows: Σ w·x·xᵀ (d + 1, d + 1), and Σ w·x of each class (z, d + 1), whose last column
    counts. `weights` (z,) are of the classes' rows."""
    width = features.shape[1] + 1
    # √w on both sides of x·xᵀ, so that weights cost no product of their own
    roots = np.sqrt(weights)[:, None]
    gram = np.zeros((width, width))
    sums = np.zeros((len(weights), width))
    for block in blocks(len(features), width):
        order = np.argsort(target[block], kind="stable")
        of_block = target[block]
        class_of = of_block[order]
        x = with_constant(features[block][order])
        x *= roots[class_of]
        gram += x.T @ x
        # rows are in order of class, so each class of the block is one run
        starts = np.flatnonzero(np.diff(class_of, prepend=-1))
        classes = class_of[starts]
        sums[classes] += np.add.reduceat(x, starts, axis=0)
    return gram, sums * roots


def feature_side(
    gram: Double, sums: Double, known: Double, ridges: Sequence[float]
) -> list[Double]:
    """Solve (XᵀX + γ·n·I)⁻¹ XᵀY S for each γ of `ridges`: (d + 1, a). `sums` (z, d + 1) are of the
    classes that `known` (z, a) describes."""
    right = sums.T @ known
    rows = float(gram[-1, -1])  # the constant 1, squared and summed
    return [_solve(gram, ridge * rows, right) for ridge in ridges]


def attribute_side(known: Double, described: Double, ridges: Sequence[float]) -> list[Double]:
    """Solve (SᵀS + λI)⁻¹ S_allᵀ for each λ of `ridges`: (a, classes). `known` (z, a) are the
    attributes S, `described` (classes, a) those of S_all."""
    gram = known.T @ known
    return [_solve(gram, ridge, described.T) for ridge in ridges]


def _solve(square: Double, ridge: float, right: Double) -> Double:
    """(square + ridge·I)⁻¹ right."""
    # one solution a ridge is faster than one eigendecomposition for all of them where they are few:
    # at d = 1,024, 0.05 s and 0.22 s
    raised = square.copy()
    diagonal = slice(None, None, len(square) + 1)
    raised.flat[diagonal] += ridge
    solution = np.linalg.solve(raised, right)
    return np.asarray(solution, np.float64)
