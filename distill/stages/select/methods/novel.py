"""k-center, greedily: each choice is the row furthest from all that were chosen before it (Gonzalez
1985; for active learning Sener & Savarese 2018, alg. 1).

Former selections count as chosen. Without any, the first row is drawn. Equals are told apart by
their order in the pool.

Memory: one more copy of the candidates' values, and blocks of distances. A choice costs one product
of them with a row: 10,000 rows of a million candidates of 64 numbers are some minutes.
"""

from __future__ import annotations

import numpy as np

from distill.labelers.base import Matrix
from distill.stages.select.candidates import Candidates, Choice

_BLOCK_NUMBERS = 1 << 24
_FAR = np.finfo(np.float32).max


def choose_novel(candidates: Candidates, rows: int) -> Choice:
    """Choose `rows` candidates, or as many as there are; the score is how far each lay from what
    was chosen before it."""
    if candidates.is_former.all():
        return Choice(np.empty(0, np.int64), np.empty(0), [])
    # around the mean, so that float32 loses little where squares are subtracted
    values = candidates.values - candidates.values.mean(axis=0)
    norms = np.einsum("ij,ij->i", values, values)
    is_free = ~candidates.is_former
    former = np.flatnonzero(candidates.is_former)
    nearest = np.full(len(values), np.inf, np.float32)
    block_rows = max(1, _BLOCK_NUMBERS // max(1, len(values)))
    for start in range(0, len(former), block_rows):
        block = former[start : start + block_rows]
        block_values = values[block]
        products = block_values @ values.T
        squares = norms[block, None] + norms
        squares -= 2 * products
        nearest = np.minimum(nearest, squares.min(axis=0))
    if not len(former):
        nearest[:] = _FAR
        nearest[np.argmin(candidates.priority)] = np.inf  # drawn
    most = min(rows, int(is_free.sum()))
    found = np.empty(most, np.int64)
    scores = np.empty(most)
    nearest[~is_free] = -np.inf
    for number in range(most):
        best = int(np.argmax(nearest))
        found[number] = best
        scores[number] = nearest[best]
        squares = _squares(values, norms, best)
        nearest = np.minimum(nearest, squares)
        nearest[best] = -np.inf
    if most and not len(former):
        scores[0] = 0.0  # far from nothing
    # of equal rows rounding may leave less than nothing
    distances = np.sqrt(np.maximum(scores, 0.0))
    reasons = ["novel"] * most
    return Choice(found, distances, reasons)


def _squares(values: Matrix, norms: Matrix, row: int) -> Matrix:
    """Squared distances of all rows to one of them."""
    one = values[row]
    products = values @ one
    own_norm = norms[row]
    found: Matrix = norms + own_norm
    found -= 2 * products
    return found
