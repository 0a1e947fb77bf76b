"""`pca`: principal components, by the covariance of all columns or by a few directions.

    look    rows, means, variances, constant columns; `exact` also sums the covariance, and is done
    turn    `randomized`: A·Q for an orthonormal Q of components + 10 directions, which the next
            pass takes for its own Q: subspace iteration (Halko et al. 2011, algorithm 4.4)

Memory of a statistic: 8·d² bytes of `exact` (512 MiB at the widest row that it takes), and
8·d·(components + 10) of `randomized`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from distill.core.errors import PoolError
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
from distill.labelers.structure.device import (
    columns_on_device,
    moments_on_device,
    scatter_on_device,
)
from distill.labelers.structure.eigen import (
    Principal,
    orthonormal,
    principal_of,
    principal_through,
)
from distill.labelers.structure.kind import StructureKind
from distill.labelers.structure.looks import column_details, require_differing
from distill.labelers.structure.parts import Columns, Scatter, Total, columns_of, scatter_of
from distill.labelers.structure.phases import Phase, PhasedFit
from distill.spec.base import Positive
from distill.spec.structures import StructureOutput

EXACT_WIDTH = 8_192
"""Numbers of a row up to which `exact` is allowed: its matrix then takes 512 MiB."""
_MORE_DIRECTIONS = 10


class Pca(StructureKind):
    """Principal components: the directions in which rows differ most."""

    gives = ("coordinates",)
    features = "coordinates"
    on_gpu = True

    kind: Literal["pca"]
    components: Positive
    """How many, those of the largest variance first."""
    whiten: bool = False
    """Whether each coordinate is divided by its standard deviation."""
    solver: Literal["exact", "randomized"] = "exact"
    """`exact`: the covariance of all columns, in one pass. `randomized`: a few directions, turned
    towards the components by each pass (Halko et al. 2011), for rows of many numbers."""
    passes: Annotated[int, Field(ge=2, le=1_000)] = 5
    """Of `randomized`; `exact` takes one."""

    def output(self, gives: str) -> StructureOutput:  # noqa: ARG002  it gives one thing
        return StructureOutput(self.components)

    def misfits(self, width: int, rows: int) -> Iterator[str]:
        if self.components > width:
            yield (
                f"components = {self.components}: a row has {width} numbers, and no more"
                f" components. Set it to {width} or fewer."
            )
        if self.components > rows:
            yield (
                f"components = {self.components}: there are {rows} rows, which differ in no more"
                f" than {max(0, rows - 1)} directions. Set it to fewer, or add rows."
            )
        if self.solver == "exact" and width > EXACT_WIDTH:
            gigabytes = 8 * width**2 / 1e9
            yield (
                f'solver = "exact": the covariance of {width:,} columns takes {gigabytes:,.1f} GB'
                ' a worker. Set solver = "randomized".'
            )

    def fit(self, seed: int, where: str) -> PcaFit:
        return PcaFit(self, seed, where)

    @classmethod
    def load(cls, arrays: Arrays, plain: Plain) -> FittedPca:
        return FittedPca(arrays, plain)


@dataclass(frozen=True)
class PcaFit(PhasedFit):
    """The fit of `pca`. See `PassFit`."""

    model: Pca
    seed: int
    where: str
    device: str = "cpu"
    """Where passes compute: a GPU by torch's name for it, `cuda`."""

    def on(self, device: str) -> PcaFit:
        """Return the fit whose passes compute there."""
        return replace(self, device=device)

    def columns(self, values: Matrix, row: Int64) -> Columns:
        """Return what rows say of their columns."""
        if self.device != "cpu":
            return columns_on_device(values, row, self.device)
        return columns_of(values, row)

    def moments(self, values: Matrix, row: Int64) -> tuple[Columns, Scatter]:
        """Return what rows say of their columns, and their scatter, whole."""
        if self.device != "cpu":
            return moments_on_device(values, row, self.device)
        return columns_of(values, row), scatter_of(values)

    def scatter(self, values: Matrix, directions: Double) -> Scatter:
        """Return the scatter of rows by directions."""
        if self.device != "cpu":
            return scatter_on_device(values, directions, self.device)
        return scatter_of(values, directions)

    def begin(self, width: int, rows: int) -> State:
        """Return the state before the first pass. Raises JobError."""
        self.require_fit(width, rows)
        return first_state("look", width=width)

    @property
    def phases(self) -> Mapping[str, Phase]:
        return {"look": _Look(self), "turn": _Turn(self)}

    def finish(self, state: State) -> FittedPca:
        """Return the components."""
        variance = state.arrays["variance"]
        total = state.plain["total_variance"]
        details = {
            **state.plain["columns"],
            "explained_variance": variance.tolist(),
            "explained_variance_ratio": (variance / total).tolist(),
            "total_variance": total,
            "directions_with_variance": int(np.count_nonzero(variance)),
            "passes": [*state.measures],
        }
        arrays = {name: state.arrays[name] for name in ("mean", "components", "variance")}
        plain = {"kind": "pca", "whiten": self.model.whiten, "details": details}
        return FittedPca(arrays, plain)

    def ended(self, state: State, found: Principal, measure: dict[str, Any]) -> State:
        """Return the state after the last pass."""
        variance = found.scatter / (state.plain["columns"]["rows"] - 1)
        arrays = {
            "mean": state.arrays["mean"],
            "components": found.directions,
            "variance": variance,
        }
        share = variance.sum() / state.plain["total_variance"]
        return state.after(arrays, {**measure, "explained": float(share)}, done=True)


@dataclass(frozen=True)
class _Look:
    """The first pass."""

    fit: PcaFit

    @property
    def is_exact(self) -> bool:
        """Whether it is the only one."""
        return self.fit.model.solver == "exact"

    def partial(self, state: State, values: Matrix, row: Int64) -> Statistic:  # noqa: ARG002
        if not self.is_exact:
            return {"columns": self.fit.columns(values, row)}
        columns, scatter = self.fit.moments(values, row)
        return {"columns": columns, "scatter": scatter}

    def update(self, state: State, statistic: Statistic) -> State:
        columns: Columns = statistic["columns"]
        self._require_rows(columns)
        total = columns.square.sum() / (columns.rows - 1)
        known = {"columns": column_details(columns), "total_variance": float(total)}
        arrays = {"mean": columns.mean}
        measure = {"rows": columns.rows}
        if self.is_exact:
            scatter: Scatter = statistic["scatter"]
            found = principal_of(scatter.product, self.fit.model.components)
            looked = State(arrays, {**state.plain, **known})
            return self.fit.ended(looked, found, measure)
        basis = self._first_basis(columns)
        return state.after({**arrays, "basis": basis}, measure, phase="turn", **known)

    def _require_rows(self, columns: Columns) -> None:
        require_differing(columns, self.fit.where)
        components = self.fit.model.components
        if columns.rows < components:
            raise PoolError(
                f"{self.fit.where}: components = {components}, but only {columns.rows} rows are"
                " usable. Set it to fewer, or add rows."
            )

    def _first_basis(self, columns: Columns) -> Double:
        width = len(columns.mean)
        directions = min(width, self.fit.model.components + _MORE_DIRECTIONS)
        draw = np.random.default_rng(self.fit.seed)
        drawn = draw.normal(size=(width, directions))
        return orthonormal(drawn)


@dataclass(frozen=True)
class _Turn:
    """The passes of `randomized` after the first."""

    fit: PcaFit

    def partial(self, state: State, values: Matrix, row: Int64) -> Statistic:  # noqa: ARG002
        about = self.fit.scatter(values, state.arrays["basis"])
        # the mean is known, so all workers' products are about the same one
        away = about.mean - state.arrays["mean"]
        between = np.outer(away * about.rows, away @ state.arrays["basis"])
        return {"product": Total(about.product + between)}

    def update(self, state: State, statistic: Statistic) -> State:
        product = statistic["product"].values
        basis = state.arrays["basis"]
        measure = {"rows": state.plain["columns"]["rows"]}
        if state.passes + 1 >= self.fit.model.passes:
            found = principal_through(basis, product, self.fit.model.components)
            return self.fit.ended(state, found, measure)
        # of as many directions as there will be components, though the basis has more
        seen = np.linalg.eigvalsh(basis.T @ product)[-self.fit.model.components :]
        variance = seen.sum() / (measure["rows"] - 1)
        measure["explained"] = float(variance / state.plain["total_variance"])
        arrays = {"mean": state.arrays["mean"], "basis": orthonormal(product)}
        return state.after(arrays, measure)


@dataclass(frozen=True)
class FittedPca(FittedStructure):
    """Principal components: `mean` (d,), `components` (c, d), `variance` (c,)."""

    def transform(self, values: Matrix, gives: str) -> Matrix:  # noqa: ARG002  it gives one thing
        """Return coordinates (B, c). Whitened, a component without variance is 0."""
        projection, mean, offset = self._projection
        centred: Matrix = values - mean
        coordinates: Matrix = centred @ projection
        coordinates -= offset
        return coordinates

    @cached_property
    def _projection(self) -> tuple[Matrix, Matrix, Matrix]:
        """The projection (d, c), the mean in float32, and what that rounding moves coordinates by."""
        scale: Double = np.ones(len(self.arrays["components"]))
        if self.plain["whiten"]:
            variance = self.arrays["variance"]
            is_flat = variance == 0
            deviation = np.sqrt(np.where(is_flat, 1.0, variance))
            scale = np.where(is_flat, 0.0, 1 / deviation)
        projection = self.arrays["components"].T * scale
        mean = self.arrays["mean"].astype(np.float32)
        offset = (self.arrays["mean"] - mean) @ projection
        return projection.astype(np.float32), mean, offset.astype(np.float32)
