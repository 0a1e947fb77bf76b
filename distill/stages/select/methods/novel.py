"""k-center, greedily: each choice is the row furthest from all that were chosen before it (Gonzalez
1985; for active learning Sener & Savarese 2018, alg. 1).

Former selections count as chosen. Without any, the first row is drawn. Equals are told apart by
their order in the pool. Memory: some numbers a candidate.
"""

from __future__ import annotations

import numpy as np

from distill.labelers.base import Matrix
from distill.stages.select.candidates import (
    Candidates,
    Choice,
    Float64,
    squared_distances,
)

_BLOCK_ROWS = 256


def choose_novel(candidates: Candidates, rows: int) -> Choice:
    """Choose `rows` candidates, or as many as there are; the score is how far each lay from what
    was chosen before it."""
    values = candidates.values
    is_free = ~candidates.is_former
    nearest = np.full(len(candidates), np.inf)
    former = np.flatnonzero(candidates.is_former)
    for start in range(0, len(former), _BLOCK_ROWS):
        block = values[former[start : start + _BLOCK_ROWS]]
        nearest = np.minimum(nearest, squared_distances(block, values).min(axis=0))
    most = min(rows, int(is_free.sum()))
    found = np.empty(most, np.int64)
    scores = np.empty(most)
    for number in range(most):
        if number == 0 and not len(former):
            best = int(np.argmin(candidates.priority))
        else:
            best = int(np.argmax(np.where(is_free, nearest, -1.0)))
        found[number] = best
        scores[number] = np.sqrt(nearest[best])
        is_free[best] = False
        nearest = np.minimum(nearest, _distances(values, best))
    if most and not len(former):
        scores[0] = 0.0  # far from nothing
    return Choice(found, scores, ["novel"] * most)


def _distances(values: Matrix, position: int) -> Float64:
    found: Float64 = squared_distances(values[position : position + 1], values)[0]
    return found
