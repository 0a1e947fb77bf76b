"""Measures of how well rows fall into clusters."""

from __future__ import annotations

import numpy as np

from distill.labelers.base import Double, Matrix
from distill.labelers.structure.base import Int64
from distill.labelers.structure.rows import squared_distances

_BLOCK = 1_024
DAVIES_BOULDIN_CLUSTERS = 20_000
"""The most for which all pairs of centres are compared."""


def davies_bouldin(centres: Matrix, spread: Double) -> float:
    """Return the mean over clusters of the worst (s_i + s_j) / ‖c_i − c_j‖ (Davies & Bouldin 1979):
    less is better. `spread` (k,) is the mean distance of a cluster's rows to its centre."""
    worst = np.zeros(len(centres))
    for start in range(0, len(centres), _BLOCK):
        block = slice(start, start + _BLOCK)
        apart = np.sqrt(squared_distances(centres[block], centres))
        rows = np.arange(len(apart))
        apart[rows, start + rows] = np.inf
        both = spread[block, None] + spread
        # a ratio to an equal centre says nothing
        ratio = np.divide(both, apart, out=np.zeros_like(both), where=apart > 0)
        worst[block] = ratio.max(axis=1)
    return float(worst.mean())


def silhouette(values: Matrix, cluster: Int64) -> float | None:
    """Return the mean over rows (m, d) of (b − a) / max(a, b) (Rousseeuw 1987), where a is the mean
    distance to the rows of the same cluster and b the least mean to those of another; 0 for a row
    that is alone. None where all rows are of one cluster."""
    clusters, number = np.unique(cluster, return_inverse=True)
    if len(clusters) < 2:
        return None
    rows = np.arange(len(values))
    one_hot = np.zeros((len(values), len(clusters)))
    one_hot[rows, number] = 1
    sizes = one_hot.sum(axis=0)
    apart = np.sqrt(squared_distances(values, values))
    apart[rows, rows] = 0
    sums = apart @ one_hot
    own = sums[rows, number] / np.maximum(sizes[number] - 1, 1)
    others = sums / sizes
    others[rows, number] = np.inf
    nearest = others.min(axis=1)
    worth = (nearest - own) / np.maximum(np.maximum(own, nearest), np.finfo(np.float64).tiny)
    worth[sizes[number] == 1] = 0
    return float(worth.mean())
