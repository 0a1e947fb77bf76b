"""The passes of `kmeans` that move centres: each to the mean of its rows (Lloyd 1982).

With a `sample_fraction` f below 1 a pass counts that share of the rows, drawn anew each time, and
what former passes counted weighs 1 − f of what it weighed before (as Spark's streaming k-means), so
a centre is the mean of about the last 1/f passes: of as many rows as there are.

A centre without rows is moved in the pass after: to one of the rows that are furthest from their
centres, of which a bounded number is gathered while there are such centres.

Memory of a statistic: 8·k·(d + 1) bytes, and while centres have no rows up to 1,024 rows or 16 MiB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.labelers.base import Double, Matrix
from distill.labelers.structure.base import Array, Int64, State, Statistic
from distill.labelers.structure.centres import exact_squares
from distill.labelers.structure.kmeans_levels import TwoLevels
from distill.labelers.structure.kmeans_rows import (
    PASS_ROWS,
    Nearest,
    RowChoice,
    nearest_of,
)
from distill.labelers.structure.kmeans_start import require_distinct_rows
from distill.labelers.structure.parts import Total
from distill.labelers.structure.rows import Sample, sample_of, squared_lengths, unit_length

_FURTHEST = 1_024
_FURTHEST_NUMBERS = 4 << 20
_EQUAL = (32 * float(np.finfo(np.float32).eps)) ** 2
"""Of a row's squared length: a centre that is nearer is the row itself, but for rounding."""
_ONE_ROW = 0.5
"""Of a centre's weight: a centre that weighs less has no rows."""


@dataclass(frozen=True)
class Means:
    """Passes of Lloyd's algorithm."""

    choice: RowChoice
    passes: int
    """The most."""
    tolerance: float
    fraction: float
    then: str
    """The phase after it."""
    where: str

    def partial(self, state: State, values: Matrix, row: Int64) -> Statistic:
        draw = PASS_ROWS + state.passes
        rows = self.choice.share(values, row, self.fraction, draw)
        centres = self.choice.centres(state)
        shifted = centres.shifted(rows.values)
        sums, counts = centres.sums(shifted)
        gathered = {"sums": Total(sums), "counts": Total(counts)}
        if self.fraction < 1:
            square = squared_lengths(shifted).sum(dtype=np.float64)
            gathered["square"] = Total(np.array([square]))
        if state.plain.get("vacant"):
            return {**gathered, "furthest": _furthest(centres, shifted, rows.row)}
        return gathered

    def update(self, state: State, statistic: Statistic) -> State:
        counts = statistic["counts"].values
        before = state.arrays["offsets"].astype(np.float64)
        moved, weight = self._moved(state, statistic)
        movement = float(np.sum((moved - before) ** 2))
        vacant = np.flatnonzero(weight < _ONE_ROW)
        offsets = moved.astype(np.float32)
        arrays: dict[str, Array] = {**state.arrays, "offsets": offsets, "weight": weight}
        if len(vacant) and "furthest" in statistic:
            reseeded = self._reseeded(state, offsets, vacant, statistic["furthest"])
            arrays.update(reseeded)
        measure = {
            "rows": int(counts.sum()),
            "inertia": _inertia(state, statistic),
            "moved": movement,
            "empty": len(vacant),
        }
        passes = state.plain.get("means_passes", 0) + 1
        is_still = movement <= self.tolerance * _column_variance(state)
        if passes < self.passes and (len(vacant) or not is_still):
            return state.after(arrays, measure, means_passes=passes, vacant=len(vacant))
        del arrays["weight"]
        return state.after(arrays, measure, phase=self.then, means_passes=0, vacant=0)

    def _moved(self, state: State, statistic: Statistic) -> tuple[Double, Double]:
        """Return where the centres' rows want them, less the shift, and how many rows each weighs.
        Without any a centre stays."""
        before = state.arrays["offsets"]
        sums = statistic["sums"].values
        weight = statistic["counts"].values.astype(np.float64)
        if self.fraction < 1 and "weight" in state.arrays:
            former = state.arrays["weight"] * (1 - self.fraction)
            sums = sums + before * former[:, None]
            weight = weight + former
        moved: Double = before.astype(np.float64)
        has_rows = weight >= _ONE_ROW
        moved[has_rows] = sums[has_rows] / weight[has_rows, None]
        if self.choice.spherical:
            shift = state.arrays["shift"]
            moved = unit_length(moved + shift) - shift
        return moved, weight

    def _reseeded(
        self, state: State, offsets: Matrix, vacant: Int64, furthest: Sample
    ) -> dict[str, Array]:
        """Return the centres, those without rows moved to far ones; with two levels also whose they
        are. Raises PoolError where all rows lie on centres."""
        centres = nearest_of(state.arrays)
        rows = np.unique(furthest.values, axis=0)
        nearest, _ = centres.nearest_and_squares(rows)
        squares = exact_squares(rows, centres.offsets[nearest])
        # the mean of equal rows is not always these rows to the last bit
        squares[squares <= _EQUAL * squared_lengths(rows)] = 0
        if not squares.any() and self.fraction == 1:
            require_distinct_rows(len(offsets) - len(vacant), len(offsets), self.where)
        chosen = _far_apart(rows, squares, len(vacant))
        taken = vacant[: len(chosen)]
        offsets = offsets.copy()
        offsets[taken] = rows[chosen]
        if not isinstance(centres, TwoLevels):
            return {"offsets": offsets}
        parent = centres.parent.copy()
        parent[taken] = centres.cell(rows[chosen])
        return {"offsets": offsets, "parent": parent}


def _furthest(centres: Nearest, shifted: Matrix, row: Int64) -> Sample:
    """Return some of the rows that are furthest from their centres."""
    _, squares = centres.nearest_and_squares(shifted)
    most = min(_FURTHEST, max(1, _FURTHEST_NUMBERS // shifted.shape[1]))
    return sample_of(most, shifted, row, -squares.astype(np.float64))


def _far_apart(rows: Matrix, squares: Double, count: int) -> Int64:
    """Choose the row that is furthest from the centres and from those chosen before it, time and
    again: the furthest rows of all may be one group. `squares` (m,) are distances to centres."""
    chosen: list[int] = []
    for _ in range(min(count, len(rows))):
        furthest = int(squares.argmax())
        if squares[furthest] <= 0:
            break
        chosen.append(furthest)
        squares = np.minimum(squares, exact_squares(rows, rows[furthest]))
    return np.array(chosen, np.int64)


def _inertia(state: State, statistic: Statistic) -> float:
    """Return Σ ‖x − c‖² of the rows that were counted, to the centres that they were compared with:
    Σ‖x‖² − 2 Σ c·Σx + Σ n‖c‖², so no pass computes a row's distance."""
    offsets = state.arrays["offsets"].astype(np.float64)
    squares = np.einsum("ij,ij->i", offsets, offsets)
    square = state.plain["square"]
    if "square" in statistic:
        square = statistic["square"].values[0]
    between = np.sum(offsets * statistic["sums"].values)
    own = squares @ statistic["counts"].values
    return max(0.0, float(square - 2 * between + own))


def _column_variance(state: State) -> float:
    """Return the mean variance of a column."""
    width = len(state.arrays["shift"])
    variance: float = state.plain["variance"]
    return variance / width
