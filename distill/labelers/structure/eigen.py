"""Principal directions of a scatter matrix A = Σ (x − mean)(x − mean)ᵀ, whole or seen through a few
directions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from distill.labelers.base import Double

ROUNDING = float(np.finfo(np.float64).eps)


class Principal(NamedTuple):
    """Directions of the largest scatter, in order."""

    directions: Double
    """(c, d): orthonormal rows, each with its largest number positive."""
    scatter: Double
    """(c,): Σ (x·direction)² about the mean; exactly 0 where it is rounding alone."""


def principal_of(scatter: Double, count: int) -> Principal:
    """Return `count` principal directions of A (d, d)."""
    values, vectors = np.linalg.eigh(scatter)
    largest = slice(-1, -1 - count, -1)
    return _in_order(vectors.T[largest], values[largest], len(scatter))


def principal_through(basis: Double, product: Double, count: int) -> Principal:
    """Return about the `count` principal directions of A, given an orthonormal basis Q (d, w) and
    the product A·Q: those of the Nyström approximation AQ (QᵀAQ)⁻¹ (AQ)ᵀ (Halko et al. 2011, 5.4).

    It is nearer to A than its projection on Q, as by another half of a pass.
    """
    inner = basis.T @ product
    values, vectors = np.linalg.eigh((inner + inner.T) / 2)
    is_seen = values > values[-1] * len(basis) * ROUNDING
    roots = np.sqrt(values[is_seen])
    factor = product @ vectors[:, is_seen] / roots
    left, singular, _ = np.linalg.svd(factor, full_matrices=False)
    # where rows lie in fewer dimensions than are asked for, the rest of the basis completes them
    completed, _ = np.linalg.qr(np.hstack([left, basis]))
    scatter = np.zeros(count)
    found = min(count, len(singular))
    scatter[:found] = singular[:found] ** 2
    return _in_order(completed.T[:count], scatter, len(basis))


def orthonormal(matrix: Double) -> Double:
    """Return an orthonormal basis of a matrix's columns, (d, w)."""
    basis, _ = np.linalg.qr(matrix)
    return basis


def _in_order(directions: Double, scatter: Double, width: int) -> Principal:
    rounding = ROUNDING * width * max(0.0, float(scatter[0]))
    real = np.where(scatter > rounding, scatter, 0.0)
    largest = np.abs(directions).argmax(axis=1)
    signs = np.sign(directions[np.arange(len(directions)), largest])
    return Principal(directions * signs[:, None], real)
