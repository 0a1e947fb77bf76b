"""Where `kmeans` begins.

    look     rows, means, variances, constant columns, and one row (of `random`: k rows)
    start    k-means|| (Bahmani et al. 2012, algorithm 2): a round draws k rows by their squared
             distance to the candidates so far; three rounds
    weigh    how many rows are nearest to each candidate; k of the candidates are then chosen by
             k-means++ with these weights, and moved by some passes of Lloyd's over the candidates:
             the best of a few tries

A round draws without replacement, so its rows are exactly as many as are asked for, and the sum of
all distances need not be known before. Candidates are compared again in each round, since no number
is stored of a row; so only a share of the rows is looked at where there are more than 128 a cluster.
In means of eight seeds, inertia at the end was then 0.97 to 1.02 of what scikit-learn's start led to,
with more rounds and rows as with these.

Memory of a statistic: k rows a round; the state holds up to 3·k + 1 candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.core.errors import PoolError
from distill.labelers.base import Double, Matrix
from distill.labelers.structure.base import Int64, State, Statistic
from distill.labelers.structure.centres import Centres, exact_squares, shift_of
from distill.labelers.structure.group_sums import group_sums
from distill.labelers.structure.kmeans_rows import (
    FIRST_ROWS,
    START_ROUNDS,
    START_ROWS,
    RowChoice,
)
from distill.labelers.structure.looks import column_details, require_differing, require_squares
from distill.labelers.structure.parts import Columns, Total
from distill.labelers.structure.rows import Sample, sample_of, uniform

ROUNDS = 3
"""Of `start`."""
ROWS_A_CLUSTER = 128
"""Rows that the start looks at, for each cluster."""
_ONE_WAY = 1e-12
"""Variance of rows of length 1 that is rounding alone."""
_CANDIDATE_PASSES = 10
_TRIES = 4
_TRIES_PRODUCTS = 1 << 32
"""Products of two numbers that all tries together may take, unless one takes more."""


@dataclass(frozen=True)
class Look:
    """The first pass."""

    choice: RowChoice
    k: int
    """Clusters that are found first."""
    all_k: int
    """Clusters in the end."""
    is_random: bool
    where: str

    def partial(self, state: State, values: Matrix, row: Int64) -> Statistic:  # noqa: ARG002
        rows = self.choice.all(values, row)
        most = self.k if self.is_random else 1
        key = uniform(self.choice.seed, FIRST_ROWS, row)
        first = sample_of(most, rows.values, row, key)
        return {"columns": self.choice.columns(rows), "first": first}

    def update(self, state: State, statistic: Statistic) -> State:
        columns: Columns = statistic["columns"]
        first: Sample = statistic["first"]
        self._require_rows(columns)
        variance = float(columns.square.sum() / columns.rows)
        shift = shift_of(columns.mean, variance)
        distinct = np.unique(first.values - shift, axis=0)
        offsets = filled_up(distinct, len(first))
        arrays = {"shift": shift, "offsets": offsets}
        away = np.sum((columns.mean - shift) ** 2)
        known = {
            "columns": column_details(columns),
            "rows": columns.rows,
            "variance": variance,
            "square": columns.rows * (variance + float(away)),
            "share": min(1.0, ROWS_A_CLUSTER * self.k / columns.rows),
            "phase": "means" if self.is_random else "start",
        }
        return state.after(arrays, {"rows": columns.rows}, **known)

    def _require_rows(self, columns: Columns) -> None:
        require_differing(columns, self.where)
        require_squares(columns, self.where)
        variance = columns.square.sum() / columns.rows
        if self.choice.spherical and variance <= _ONE_WAY:
            raise PoolError(
                f"{self.where}: brought to length 1, all {columns.rows:,} rows are equal. Set"
                " spherical = false."
            )
        if columns.rows < self.all_k:
            raise PoolError(
                f"{self.where}: k = {self.all_k:,}, but only {columns.rows:,} rows are usable. Set"
                " it to fewer, or add rows."
            )


@dataclass(frozen=True)
class Start:
    """The rounds of k-means||."""

    choice: RowChoice
    k: int
    where: str

    def partial(self, state: State, values: Matrix, row: Int64) -> Statistic:
        rows = self.choice.share(values, row, state.plain["share"], START_ROWS)
        centres = self.choice.centres(state)
        shifted = centres.shifted(rows.values)
        _, squares = centres.nearest_and_squares(shifted)
        drawn = uniform(self.choice.seed, START_ROUNDS + state.passes, rows.row)
        with np.errstate(divide="ignore"):
            key = -np.log(drawn) / squares
        inertia = squares.sum(dtype=np.float64)
        return {
            "drawn": sample_of(self.k, shifted, rows.row, key),
            "inertia": Total(np.array([inertia])),
            "rows": Total(np.array([len(rows.row)])),
        }

    def update(self, state: State, statistic: Statistic) -> State:
        before = state.arrays["offsets"]
        drawn = np.unique(statistic["drawn"].values, axis=0)
        new = _without(drawn, before)
        offsets = np.concatenate([before, new])
        measure = {
            "rows": int(statistic["rows"].values[0]),
            # of candidates, of which there are more than clusters: no inertia of these
            "candidate_inertia": float(statistic["inertia"].values[0]),
            "candidates": len(offsets),
        }
        arrays = {**state.arrays, "offsets": offsets}
        # a share of the rows may hold fewer distinct ones than all rows do
        if not len(new) and state.plain["share"] >= 1:
            require_distinct_rows(len(offsets), self.k, self.where)
        # the first pass was no round
        is_last = state.passes >= ROUNDS or not len(new)
        return state.after(arrays, measure, phase="weigh" if is_last else "start")


@dataclass(frozen=True)
class Weigh:
    """The pass that chooses among the candidates."""

    choice: RowChoice
    k: int

    def partial(self, state: State, values: Matrix, row: Int64) -> Statistic:
        rows = self.choice.share(values, row, state.plain["share"], START_ROWS)
        centres = self.choice.centres(state)
        nearest = centres.nearest(centres.shifted(rows.values))
        counts = np.bincount(nearest, minlength=len(centres.offsets))
        return {"counts": Total(counts)}

    def update(self, state: State, statistic: Statistic) -> State:
        counts = statistic["counts"].values
        is_near = counts > 0
        candidates = state.arrays["offsets"][is_near]
        weights = counts[is_near].astype(np.float64)
        found = min(self.k, len(candidates))
        chosen = chosen_of(candidates, weights, found, self.choice.seed)
        arrays = {**state.arrays, "offsets": filled_up(chosen, self.k)}
        measure = {"rows": int(counts.sum()), "candidates": len(candidates)}
        return state.after(arrays, measure, phase="means", vacant=self.k - found)


def require_distinct_rows(distinct: int, k: int, where: str) -> None:
    """Raise PoolError where there are fewer distinct rows than clusters."""
    if distinct < k:
        raise PoolError(
            f"{where}: k = {k:,}, but there are only {distinct:,} distinct rows. Set it to"
            f" {distinct:,} or fewer, or leave duplicates out of the pool."
        )


def filled_up(centres: Matrix, k: int) -> Matrix:
    """Return k centres: what is missing is the first one again, which `means` finds to be without
    rows of its own, and moves."""
    missing = k - len(centres)
    return np.concatenate([centres, np.repeat(centres[:1], missing, axis=0)])


def chosen_of(points: Matrix, weights: Double, k: int, seed: int) -> Matrix:
    """Return k centres of weighted points (m, d): chosen by k-means++, then moved by a few passes of
    Lloyd's; of some tries those of the least inertia."""
    draw = np.random.default_rng(seed)
    affordable = _TRIES_PRODUCTS // (points.size * k * _CANDIDATE_PASSES)
    best = None
    least = np.inf
    for _ in range(max(1, min(_TRIES, affordable))):
        chosen = plus_plus(points, weights, k, draw)
        offsets = _moved(points, weights, points[chosen])
        nowhere = np.zeros(points.shape[1], np.float32)
        _, squares = Centres(offsets, nowhere).nearest_and_squares(points)
        inertia = float(weights @ squares)
        if best is None or inertia < least:
            best = offsets
            least = inertia
    assert best is not None
    return best


def _moved(points: Matrix, weights: Double, offsets: Matrix) -> Matrix:
    """Return the centres after a few passes of Lloyd's."""
    k = len(offsets)
    nowhere = np.zeros(points.shape[1], np.float32)
    for _ in range(_CANDIDATE_PASSES):
        nearest = Centres(offsets, nowhere).nearest(points)
        sums = group_sums(points * weights[:, None].astype(np.float32), nearest, k)
        total = np.bincount(nearest, weights, k)
        is_used = total > 0
        moved = offsets.copy()
        moved[is_used] = sums[is_used] / total[is_used, None]
        if np.array_equal(moved, offsets):
            break
        offsets = moved
    return offsets


def plus_plus(points: Matrix, weights: Double, k: int, draw: np.random.Generator) -> Int64:
    """Choose k of the weighted points (m, d) by k-means++ (Arthur & Vassilvitskii 2007), the best of
    2 + log k drawn ones each time, as scikit-learn does."""
    trials = 2 + int(np.log(k))
    lengths = np.einsum("ij,ij->i", points, points)
    first = draw.choice(len(points), p=weights / weights.sum())
    chosen = [int(first)]
    squares = _squares_to(points, lengths, np.array([first]))[:, 0]
    for _ in range(1, k):
        chances = np.cumsum(squares * weights)
        drawn = np.searchsorted(chances, draw.uniform(size=trials) * chances[-1], side="right")
        drawn = np.minimum(drawn, len(points) - 1)
        after = np.minimum(_squares_to(points, lengths, drawn), squares[:, None])
        best = int((weights @ after).argmin())
        chosen.append(int(drawn[best]))
        squares = after[:, best]
    return np.array(chosen)


def _squares_to(points: Matrix, lengths: Matrix, chosen: Int64) -> Double:
    """Squared distances of all points to some of them, (m, c); exactly 0 to themselves."""
    products = points @ points[chosen].T
    squares = lengths[:, None] + lengths[chosen] - 2 * products.astype(np.float64)
    squares[chosen, np.arange(len(chosen))] = 0
    return np.maximum(squares, 0)


def _without(drawn: Matrix, before: Matrix) -> Matrix:
    """Those of the drawn rows that are no candidates yet: rounding alone may have parted them."""
    nowhere = np.zeros(before.shape[1], np.float32)
    nearest: Any = Centres(before, nowhere).nearest(drawn)
    return drawn[exact_squares(drawn, before[nearest]) > 0]
