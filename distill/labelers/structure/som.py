"""`som`: a self-organising map, by the batch algorithm (Kohonen 2013, *Essentials of the
self-organizing map*).

    look       means and variances, and A·D of the scatter A and ten directions D drawn at random,
               from which the plane of the two largest principal components is found: where units
               begin
    map …      each row's unit, and the one after it; each unit then moves to the mean of all rows,
               weighed by a Gaussian of the distance from their units on the grid. Its radius falls
               by one factor a pass
    measure    quantization error, topographic error and rows of each unit, of the final map

A pass's quantization error is the mean distance of a row to its unit, its topographic error the
share of rows whose two nearest units are no neighbours, both of the map before it moves.

Memory of a statistic: 8·u·(d + 1) bytes for u units; the move of a pass takes 8·u² twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from distill.labelers.base import Double, Matrix
from distill.labelers.structure.base import (
    Arrays,
    FittedStructure,
    Int64,
    Plain,
    State,
    Statistic,
    first_state,
)
from distill.labelers.structure.centres import Centres, exact_squares, shift_of
from distill.labelers.structure.eigen import orthonormal, principal_through
from distill.labelers.structure.grid import (
    Grid,
    are_adjacent,
    neighbours,
    positions,
    squared_distances,
)
from distill.labelers.structure.group_sums import group_sums
from distill.labelers.structure.groups import Groups
from distill.labelers.structure.kind import StructureKind
from distill.labelers.structure.looks import column_details, require_differing, require_squares
from distill.labelers.structure.parts import Columns, Scatter, Total, columns_of, scatter_of
from distill.labelers.structure.phases import Phase, PhasedFit
from distill.spec.base import Positive
from distill.spec.structures import StructureOutput

_DIRECTIONS = 10
_MOST_UNITS = 10_000
_Side = Annotated[int, Field(ge=1, le=1_000)]


class Som(StructureKind):
    """A self-organising map: units on a grid, neighbours alike (batch algorithm, Kohonen 2013)."""

    gives = ("position", "unit")
    features = "position"
    has_groups = True

    kind: Literal["som"]
    rows: _Side
    columns: _Side
    grid: Grid = "hexagonal"
    passes: Positive = 20
    """After the one that the start is drawn from."""
    radius: Annotated[float, Field(gt=0)] | None = None
    """How far a row moves units around its own at first, in units of the grid: the standard
    deviation of a Gaussian. Default: a quarter of the longer side, and 1 at the least."""
    last_radius: Annotated[float, Field(gt=0)] = 0.55
    """The same in the last pass; between them it falls by one factor a pass. Less brings units
    nearer to rows, more keeps neighbours alike."""

    @model_validator(mode="after")
    def _units(self) -> Som:
        units = self.rows * self.columns
        if not 2 <= units <= _MOST_UNITS:
            raise ValueError(
                f"rows = {self.rows}, columns = {self.columns}: {units:,} units, and a map has 2 to"
                f" {_MOST_UNITS:,}"
            )
        return self

    def output(self, gives: str) -> StructureOutput:
        width = {"position": 2, "unit": 1}[gives]
        return StructureOutput(width)

    def fit(self, seed: int, where: str) -> SomFit:
        return SomFit(self, seed, where)

    @classmethod
    def load(cls, arrays: Arrays, plain: Plain) -> FittedSom:
        return FittedSom(arrays, plain)

    def radius_of(self, number: int) -> float:
        """Return the radius of the pass of this number, from 0."""
        # units begin in order, on a plane, so no wide radius has to bring them into it: a quarter
        # of the side had less of both errors than a half in most of 16 cases beside torchsom
        first = self.radius or max(1.0, max(self.rows, self.columns) / 4)
        if self.passes == 1:
            return first
        gone = number / (self.passes - 1)
        return float(first * (self.last_radius / first) ** gone)


@dataclass(frozen=True)
class SomFit(PhasedFit):
    """The fit of `som`. See `PassFit`."""

    model: Som
    seed: int
    where: str

    def begin(self, width: int, rows: int) -> State:
        """Return the state before the first pass. Raises JobError."""
        self.require_fit(width, rows)
        draw = np.random.default_rng(self.seed)
        drawn = draw.normal(size=(width, min(width, _DIRECTIONS)))
        return first_state("look", {"basis": orthonormal(drawn)})

    @property
    def phases(self) -> Mapping[str, Phase]:
        """By name."""
        return {"look": _Look(self), "map": _Map(self), "measure": _Measure(self)}

    @cached_property
    def position(self) -> Double:
        """(u, 2): of each unit."""
        return positions(self.model.rows, self.model.columns, self.model.grid)

    def finish(self, state: State) -> FittedSom:
        """Return the map."""
        shift = state.arrays["shift"]
        offsets = state.arrays["offsets"]
        arrays = {
            "units": offsets + shift,
            "offsets": offsets,
            "shift": shift,
            "position": self.position,
            "hits": state.arrays["hits"],
            "u_matrix": self._u_matrix(offsets),
        }
        details = {
            **state.plain["columns"],
            **state.plain["measured"],
            "passes": [*state.measures],
        }
        model = self.model
        shape = {"rows": model.rows, "columns": model.columns, "grid": model.grid}
        return FittedSom(arrays, {"kind": "som", **shape, "details": details})

    def gathered(self, state: State, values: Matrix, *, with_sums: bool) -> Statistic:
        """Return the rows of each unit, `errors` (the rows, the sum of their distances to their
        units, and how many have two nearest units that are no neighbours), and `sums` by unit."""
        units = Centres(state.arrays["offsets"], state.arrays["shift"])
        shifted = units.shifted(values)
        nearest, second, squares = units.nearest_two(shifted)
        count = len(units.offsets)
        found = {
            "hits": Total(np.bincount(nearest, minlength=count)),
            "errors": self._errors(nearest, second, squares),
        }
        if with_sums:
            found["sums"] = Total(group_sums(shifted, nearest, count))
        return found

    def _errors(self, nearest: Int64, second: Int64, squares: Matrix) -> Total:
        # of these pairs alone: a table of all pairs would be each worker's
        between = exact_squares(self.position[nearest], self.position[second])
        apart = np.count_nonzero(~are_adjacent(between, self.model.grid))
        distances = np.sqrt(squares).sum(dtype=np.float64)
        return Total(np.array([len(nearest), distances, apart]))

    def _u_matrix(self, offsets: Matrix) -> Double:
        """Return the mean distance of each unit to its neighbours, (u,) (Ultsch & Siemon 1990)."""
        is_near = neighbours(self.position, self.model.grid)
        apart = Centres(offsets, np.zeros_like(offsets[0])).squares(offsets)
        np.sqrt(apart, out=apart)
        apart *= is_near
        mean: Double = apart.sum(axis=1, dtype=np.float64) / is_near.sum(axis=1)
        return mean


@dataclass(frozen=True)
class _Look:
    """The first pass."""

    fit: SomFit

    def partial(self, state: State, values: Matrix, row: Int64) -> Statistic:
        scatter = scatter_of(values, state.arrays["basis"])
        return {"columns": columns_of(values, row), "scatter": scatter}

    def update(self, state: State, statistic: Statistic) -> State:
        columns: Columns = statistic["columns"]
        require_differing(columns, self.fit.where)
        require_squares(columns, self.fit.where)
        variance = float(columns.square.sum() / columns.rows)
        shift = shift_of(columns.mean, variance)
        plane = self._plane(state, statistic["scatter"])
        units = columns.mean - shift + self._across() @ plane
        arrays = {"shift": shift, "offsets": units.astype(np.float32)}
        details = column_details(columns)
        return state.after(arrays, {"rows": columns.rows}, phase="map", columns=details)

    def _plane(self, state: State, scatter: Scatter) -> Double:
        """Return the two largest principal components, each as long as its standard deviation,
        (2, d)."""
        basis = state.arrays["basis"]
        found = principal_through(basis, scatter.product, min(2, len(basis)))
        deviation = np.sqrt(found.scatter / scatter.rows)
        plane = np.zeros((2, len(basis)))
        plane[: len(deviation)] = found.directions * deviation[:, None]
        return plane

    def _across(self) -> Double:
        """Return where each unit lies on the plane, from −1 to 1 each way, (u, 2): the longer side
        of the grid along the larger component."""
        position = self.fit.position
        extent = position.max(axis=0) / 2
        across: Double = (position - extent) / np.maximum(extent, 1)
        is_high = bool(extent[1] > extent[0])
        return np.flip(across, axis=1) if is_high else across


@dataclass(frozen=True)
class _Map:
    """The passes that move units."""

    fit: SomFit

    def partial(self, state: State, values: Matrix, row: Int64) -> Statistic:  # noqa: ARG002
        return self.fit.gathered(state, values, with_sums=True)

    def update(self, state: State, statistic: Statistic) -> State:
        number = state.passes - 1
        radius = self.fit.model.radius_of(number)
        offsets = self._moved(state, statistic, radius)
        arrays = {"shift": state.arrays["shift"], "offsets": offsets}
        measure = {**_errors(statistic), "radius": radius}
        is_last = number + 1 >= self.fit.model.passes
        return state.after(arrays, measure, phase="measure" if is_last else "map")

    def _moved(self, state: State, statistic: Statistic, radius: float) -> Matrix:
        """Return the units after the pass: w_j = Σ_i h_ij·(sum of rows of i) / Σ_i h_ij·(rows of i),
        h being the Gaussian."""
        weights = squared_distances(self.fit.position)
        weights /= -2 * radius**2
        np.exp(weights, out=weights)
        sums = weights @ statistic["sums"].values
        rows = weights @ statistic["hits"].values
        moved: Matrix = state.arrays["offsets"].copy()
        # a unit that is far from every row's, by a small radius, stays
        is_reached = rows > np.finfo(np.float32).tiny
        moved[is_reached] = sums[is_reached] / rows[is_reached, None]
        return moved


@dataclass(frozen=True)
class _Measure:
    """The pass after the last move."""

    fit: SomFit

    def partial(self, state: State, values: Matrix, row: Int64) -> Statistic:  # noqa: ARG002
        return self.fit.gathered(state, values, with_sums=False)

    def update(self, state: State, statistic: Statistic) -> State:
        hits = statistic["hits"].values
        errors = _errors(statistic)
        unused = int(np.count_nonzero(hits == 0))
        measured = {**errors, "units": len(hits), "units_without_rows": unused}
        arrays = {**state.arrays, "hits": hits}
        return state.after(arrays, errors, measured=measured, done=True)


def _errors(statistic: Statistic) -> dict[str, Any]:
    rows, distances, apart = statistic["errors"].values.tolist()
    return {
        "rows": int(rows),
        "quantization_error": distances / rows,
        "topographic_error": apart / rows,
    }


@dataclass(frozen=True)
class FittedSom(FittedStructure):
    """A map: `units` (u, d) row by row, their `position` (u, 2) on the grid, `hits` (u,) of rows and
    `u_matrix` (u,), the mean distance to their neighbours."""

    def transform(self, values: Matrix, gives: str) -> Matrix:
        """Return `unit` (B, 1), the number of the nearest, or its `position` (B, 2)."""
        units = self._units
        nearest = units.nearest(units.shifted(values))
        if gives == "unit":
            return nearest[:, None].astype(np.float32)
        position: Matrix = self.arrays["position"][nearest].astype(np.float32)
        return position

    def groups(self) -> Groups:
        """Return its units."""
        return Groups(self, "unit", self.arrays["units"], self.arrays["hits"])

    @cached_property
    def _units(self) -> Centres:
        return Centres(self.arrays["offsets"], self.arrays["shift"])
