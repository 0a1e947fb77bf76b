"""What the phases of `kmeans` share: which rows a pass counts, and the centres of a state."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from distill.labelers.base import Double, Matrix
from distill.labelers.structure.base import Arrays, Int64, State
from distill.labelers.structure.centres import Centres
from distill.labelers.structure.device import columns_on_device
from distill.labelers.structure.kmeans_levels import TwoLevels
from distill.labelers.structure.parts import Columns, columns_of
from distill.labelers.structure.rows import uniform, unit_length

# numbers of draws: those of the start, then one a round or a pass
START_ROWS = 1
FIRST_ROWS = 2
SILHOUETTE_ROWS = 3
START_ROUNDS = 1_000
SPLIT_ROWS = 2_000
PASS_ROWS = 10_000


class Nearest(Protocol):
    """Centres, of one level or two."""

    @property
    def offsets(self) -> Matrix:
        """(k, d): the centres, less the shift."""

    @property
    def shift(self) -> Matrix:
        """(d,)."""

    def shifted(self, values: Matrix) -> Matrix:
        """See `Centres.shifted`."""

    def nearest(self, shifted: Matrix) -> Int64:
        """See `Centres.nearest`."""

    def nearest_and_squares(self, shifted: Matrix) -> tuple[Int64, Matrix]:
        """See `Centres.nearest_and_squares`."""

    def sums(self, shifted: Matrix) -> tuple[Double, Int64]:
        """See `Centres.sums`."""


class Rows(NamedTuple):
    """Rows that a pass counts."""

    values: Matrix
    row: Int64


class RowChoice(NamedTuple):
    """How rows are brought to the form in which they are compared, where that is done, and which of
    them count."""

    seed: int
    spherical: bool
    device: str = "cpu"
    """Where rows are compared with centres: a GPU by torch's name for it, `cuda`."""

    def centres(self, state: State) -> Nearest:
        """Return the centres of a state, on the device. Those of two levels are compared on a CPU,
        cell by cell."""
        if self.device != "cpu" and "coarse" not in state.arrays:
            return Centres(state.arrays["offsets"], state.arrays["shift"], self.device)
        return nearest_of(state.arrays)

    def columns(self, rows: Rows) -> Columns:
        """Return what rows say of their columns."""
        if self.device != "cpu":
            return columns_on_device(rows.values, rows.row, self.device)
        return columns_of(rows.values, rows.row)

    def all(self, values: Matrix, row: Int64) -> Rows:
        """Return all rows."""
        if self.spherical:
            return Rows(unit_length(values), row)
        return Rows(values, row)

    def share(self, values: Matrix, row: Int64, share: float, draw: int) -> Rows:
        """Return a share of the rows, the same ones for the same draw."""
        if share >= 1:
            return self.all(values, row)
        is_chosen = uniform(self.seed, draw, row) < share
        return self.all(values[is_chosen], row[is_chosen])


def nearest_of(arrays: Arrays) -> Nearest:
    """Return the centres of a state, or of what was fitted."""
    fine = Centres(arrays["offsets"], arrays["shift"])
    if "coarse" not in arrays:
        return fine
    return TwoLevels(fine, arrays["coarse"], arrays["parent"])
