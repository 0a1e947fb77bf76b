"""Where clusters within clusters begin (`kmeans_levels`).

    cells    how many rows each coarse cluster has; fine clusters are shared out by them
    split    a sample of each coarse cluster's rows, twice as many as it shall have fine clusters;
             fine centres are chosen among them by k-means++, each coarse cluster by itself

Memory of a statistic of `split`: two rows a cluster, 8·k·d bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.labelers.base import Matrix
from distill.labelers.structure.base import Int64, State, Statistic
from distill.labelers.structure.centres import Centres
from distill.labelers.structure.kmeans_levels import shared_out
from distill.labelers.structure.kmeans_rows import SPLIT_ROWS, RowChoice
from distill.labelers.structure.kmeans_start import chosen_of, filled_up
from distill.labelers.structure.parts import Total
from distill.labelers.structure.rows import Sample, sample_of_groups, uniform

_ROWS_A_CLUSTER = 2


@dataclass(frozen=True)
class CountCells:
    """Count the rows of each coarse cluster, and share the fine ones out by them."""

    choice: RowChoice
    k: int

    def partial(self, state: State, values: Matrix, row: Int64) -> Statistic:
        rows = self.choice.all(values, row)
        cell = _cells(state, rows.values)
        counts = np.bincount(cell, minlength=len(state.arrays["offsets"]))
        return {"counts": Total(counts)}

    def update(self, state: State, statistic: Statistic) -> State:
        counts = statistic["counts"].values
        clusters = shared_out(counts, self.k)
        arrays = {**state.arrays, "clusters": clusters}
        return state.after(arrays, {"rows": int(counts.sum())}, phase="split")


@dataclass(frozen=True)
class Split:
    """Sample each coarse cluster, and choose its fine centres among its rows."""

    choice: RowChoice

    def partial(self, state: State, values: Matrix, row: Int64) -> Statistic:
        rows = self.choice.all(values, row)
        shifted = rows.values - state.arrays["shift"]
        most = _ROWS_A_CLUSTER * state.arrays["clusters"]
        key = uniform(self.choice.seed, SPLIT_ROWS, row)
        cell = _cells(state, rows.values)
        return {"rows": sample_of_groups(most, shifted, row, key, cell)}

    def update(self, state: State, statistic: Statistic) -> State:
        sample: Sample = statistic["rows"]
        clusters = state.arrays["clusters"]
        parent = np.repeat(np.arange(len(clusters)), clusters)
        offsets = np.empty((len(parent), sample.values.shape[1]), np.float32)
        for cell, count in enumerate(clusters.tolist()):
            if count:
                rows = sample.values[sample.group == cell]
                offsets[parent == cell] = self._chosen(rows, count)
        arrays = {
            "shift": state.arrays["shift"],
            "coarse": state.arrays["offsets"],
            "offsets": offsets,
            "parent": parent,
        }
        return state.after(arrays, {"rows": len(sample)}, phase="fine means")

    def _chosen(self, rows: Matrix, count: int) -> Matrix:
        """Return `count` centres of some rows, of which fewer may be distinct."""
        distinct, weights = np.unique(rows, axis=0, return_counts=True)
        found = min(count, len(distinct))
        centres = chosen_of(distinct, weights.astype(np.float64), found, self.choice.seed)
        return filled_up(centres, count)


def _cells(state: State, values: Matrix) -> Int64:
    """Return the coarse cluster of each row."""
    coarse = Centres(state.arrays["offsets"], state.arrays["shift"])
    return coarse.nearest(coarse.shifted(values))
