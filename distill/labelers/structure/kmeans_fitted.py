"""What `kmeans` found, and the last pass, which measures it.

    cluster     the number of the nearest centre
    soft        logits −‖x − c‖² / s over the clusters, whose softmax is the soft assignment; s, the
                scale, is the mean of ‖x − c‖² of all rows and the centres that are nearest to them
    distances   ‖x − c‖ to each centre

With two levels `cluster` is the nearest centre of the coarse cluster that the row lies in, and the
others compare a row with all centres, so the least distance may be of another cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from distill.labelers.base import Double, Matrix
from distill.labelers.structure.base import FittedStructure, Int64, State, Statistic
from distill.labelers.structure.centres import Centres
from distill.labelers.structure.groups import Groups
from distill.labelers.structure.kmeans_rows import (
    SILHOUETTE_ROWS,
    Nearest,
    RowChoice,
    nearest_of,
)
from distill.labelers.structure.measures import (
    DAVIES_BOULDIN_CLUSTERS,
    davies_bouldin,
    silhouette,
)
from distill.labelers.structure.parts import Total
from distill.labelers.structure.rows import Sample, sample_of, uniform, unit_length

_SAMPLE_ROWS = 2_000
_SAMPLE_NUMBERS = 8 << 20


@dataclass(frozen=True)
class Measure:
    """The pass after the last move."""

    choice: RowChoice

    def partial(self, state: State, values: Matrix, row: Int64) -> Statistic:
        rows = self.choice.all(values, row)
        centres = self.choice.centres(state)
        shifted = centres.shifted(rows.values)
        nearest, squares = centres.nearest_and_squares(shifted)
        k = len(centres.offsets)
        most = min(_SAMPLE_ROWS, max(1, _SAMPLE_NUMBERS // shifted.shape[1]))
        key = uniform(self.choice.seed, SILHOUETTE_ROWS, row)
        return {
            "counts": Total(np.bincount(nearest, minlength=k)),
            "distances": Total(np.bincount(nearest, np.sqrt(squares), k)),
            "squares": Total(np.bincount(nearest, squares, k)),
            "sample": sample_of(most, shifted, row, key),
        }

    def update(self, state: State, statistic: Statistic) -> State:
        counts = statistic["counts"].values
        inertia = float(statistic["squares"].values.sum())
        rows = int(counts.sum())
        # rows that all lie on centres leave no scale: then a small one, beside how far rows differ
        scale = max(inertia / rows, 1e-6 * state.plain["variance"])
        measured = {
            "inertia": inertia,
            **_sizes(counts),
            **_separation(state, counts, statistic["distances"].values),
            **_silhouette(state, statistic["sample"]),
        }
        arrays = {**state.arrays, "counts": counts}
        measure = {"rows": rows, "inertia": inertia}
        return state.after(arrays, measure, measured=measured, scale=scale, done=True)


def _sizes(counts: Int64) -> dict[str, Any]:
    used = counts[counts > 0]
    return {
        "clusters": len(counts),
        "empty_clusters": len(counts) - len(used),
        "fewest_rows": int(used.min()),
        "median_rows": float(np.median(used)),
        "most_rows": int(used.max()),
    }


def _separation(state: State, counts: Int64, distances: Double) -> dict[str, Any]:
    """Davies–Bouldin, about the centres; None beyond the number of clusters that it is computed
    for."""
    is_used = counts > 0
    used = int(np.count_nonzero(is_used))
    if not 2 <= used <= DAVIES_BOULDIN_CLUSTERS:
        return {"davies_bouldin": None}
    spread = distances[is_used] / counts[is_used]
    index = davies_bouldin(state.arrays["offsets"][is_used], spread)
    return {"davies_bouldin": index}


def _silhouette(state: State, sample: Sample) -> dict[str, Any]:
    """The silhouette of the sample's rows among themselves."""
    nearest = nearest_of(state.arrays).nearest(sample.values)
    mean = silhouette(sample.values, nearest)
    return {"silhouette": mean, "silhouette_rows": len(sample)}


def fitted_kmeans(state: State, spherical: bool) -> FittedKmeans:
    """Return what was fitted, of a state that is done."""
    names = [name for name in ("coarse", "parent") if name in state.arrays]
    shift = state.arrays["shift"]
    arrays = {
        "centres": state.arrays["offsets"] + shift,
        "offsets": state.arrays["offsets"],
        "shift": shift,
        "counts": state.arrays["counts"],
        **{name: state.arrays[name] for name in names},
    }
    details = {
        **state.plain["columns"],
        **state.plain["measured"],
        "passes": [*state.measures],
    }
    plain = {
        "kind": "kmeans",
        "spherical": spherical,
        "scale": state.plain["scale"],
        "details": details,
    }
    return FittedKmeans(arrays, plain)


@dataclass(frozen=True)
class FittedKmeans(FittedStructure):
    """Clusters: `centres` (k, d), `counts` (k,) of rows. `offsets` are the centres less the `shift`,
    in which distances are computed."""

    def transform(self, values: Matrix, gives: str) -> Matrix:
        """Return `cluster` (B, 1), or `soft` or `distances` (B, k)."""
        rows = unit_length(values) if self.plain["spherical"] else values
        shifted = self._centres.shifted(rows)
        if gives == "cluster":
            return self._centres.nearest(shifted)[:, None].astype(np.float32)
        squares = Centres(self._centres.offsets, self._centres.shift).squares(shifted)
        if gives == "distances":
            return np.sqrt(squares, out=squares)
        logits: Matrix = squares * np.float32(-1 / self.plain["scale"])
        return logits

    def groups(self) -> Groups:
        """Return its clusters."""
        spherical = bool(self.plain["spherical"])
        return Groups(self, "cluster", self.arrays["centres"], self.arrays["counts"], spherical)

    @cached_property
    def _centres(self) -> Nearest:
        return nearest_of(self.arrays)
