"""The elbow of k-means: inertia over the number of clusters, on drawn rows, so that a person sees where
more clusters stop to tell rows apart."""

from __future__ import annotations

import numpy as np

from distill.labelers.base import Matrix
from distill.labelers.structure.centres import Centres
from distill.labelers.structure.kmeans_start import chosen_of

_POINTS = 9
_ROWS_A_CLUSTER = 8
"""With fewer drawn rows a cluster, inertia says how few rows were drawn."""
_SEED = 0


def elbow(values: Matrix, k: int) -> list[tuple[int, float]]:
    """Return numbers of clusters, from 1 to about twice k as far as rows (m, d) allow, each with the
    mean squared distance of rows to their centres."""
    most = min(2 * k, len(values) // _ROWS_A_CLUSTER)
    if most < 2:
        return []
    numbers = np.unique(np.geomspace(1, most, _POINTS).round().astype(int)).tolist()
    if k < most:
        numbers = sorted({*numbers, k})
    middle = values.mean(axis=0, dtype=np.float64).astype(np.float32)
    rows = values - middle  # far from the origin, squares would lose what tells rows apart
    return [(number, _inertia(rows, number)) for number in numbers]


def _inertia(rows: Matrix, k: int) -> float:
    weights = np.ones(len(rows))
    centres = np.zeros((1, rows.shape[1]), np.float32)
    if k > 1:
        centres = chosen_of(rows, weights, k, _SEED)
    nowhere = np.zeros(rows.shape[1], np.float32)
    _, squares = Centres(centres, nowhere).nearest_and_squares(rows)
    return float(squares.mean(dtype=np.float64))
