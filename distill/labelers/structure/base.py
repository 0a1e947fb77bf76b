"""The protocol of a structure that is fitted without labels: partial statistics of rows, merged on
the way, and one update a pass.

    state = fit.begin(width, rows)
    while not state.done:
        statistic = merge(…, fit.partial(state, values, row), …)     over chunks, by engine.fold
        state = fit.update(state, statistic)                          stored between passes
    structure = fit.finish(state)

A fit knows no storage and no scheduler. A statistic's size depends on the structure and never on
the rows. Whatever is drawn is drawn by a hash of (seed, pass, row number), so any number of workers
and any cut into chunks give the same structure, to rounding.

A state and a fitted structure are arrays and plain values of JSON, so that whoever drives the
passes can store both (safetensors and JSON) and build them again.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from distill.labelers.base import Matrix

if TYPE_CHECKING:
    from distill.labelers.structure.groups import Groups

Array = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]
Arrays = Mapping[str, Array]
Plain = Mapping[str, Any]
"""Values that JSON has."""


class Part(Protocol):
    """Something that a pass gathers of rows (`distill.labelers.structure.parts`)."""

    def merge(self, other: Any) -> Any:
        """Return the same of both's rows. Neither is changed: they may lie in memory that is read
        only."""


Statistic = Mapping[str, Any]
"""What a pass gathers of some rows: a `Part` a name. Nobody but the fit looks into it."""


@dataclass(frozen=True)
class State:
    """What is known after some passes."""

    arrays: Arrays
    plain: Plain
    """`phase`, the name of the next pass; `measures`; `done`; and what else the fit remembers."""

    @property
    def done(self) -> bool:
        """Whether no pass is left."""
        return bool(self.plain["done"])

    @property
    def phase(self) -> str:
        """What the next pass is for, in a word for the log: `start`, `means`, `measures`, …"""
        return str(self.plain["phase"])

    @property
    def passes(self) -> int:
        """Passes that it has seen."""
        return len(self.measures)

    @property
    def measures(self) -> Sequence[Plain]:
        """What each pass measured, in order: its `phase`, `rows`, and `inertia` or the like."""
        measures: Sequence[Plain] = self.plain["measures"]
        return measures

    def after(self, arrays: Arrays, measure: Plain, **plain: Any) -> State:
        """Return the state one pass later: these arrays, one more measure, changed plain values."""
        named = {"phase": self.phase, **measure}
        measures = [*self.measures, named]
        return State(arrays, {**self.plain, **plain, "measures": measures})


def first_state(phase: str, arrays: Arrays | None = None, **plain: Any) -> State:
    """Return the state before any pass."""
    begun = {"phase": phase, "done": False, "measures": []}
    return State(arrays or {}, {**begun, **plain})


@dataclass(frozen=True)
class FittedStructure:
    """What was fitted. Built again from its arrays and plain values by
    `distill.labelers.structure.kind.load_structure`."""

    arrays: Arrays
    plain: Plain
    """`kind`, and `details` for people: measures of each pass and of the whole."""

    @abstractmethod
    def transform(self, values: Matrix, gives: str) -> Matrix:
        """Return what it gives of B rows (B, d): float32 (B, w), of the width and meaning that
        `StructureModel.output` says. The same rows give the same numbers, whatever is beside them,
        to rounding."""

    def groups(self) -> Groups | None:
        """Return the groups that it puts rows into; None where it has none. The report shows them,
        and drift is told by them. A kind whose structures have some says so by `has_groups`."""
        return None


class PassFit(Protocol):
    """A fit by passes over rows.

    One whose kind is `on_gpu` also has `on(device)`, which returns the fit whose `partial` computes
    there; all else stays on a CPU.
    """

    def begin(self, width: int, rows: int) -> State:
        """Return the state before the first pass, for rows of `width` numbers. `rows` is how many
        there are at the most; rejected ones are among them. Raises JobError where the table does
        not fit them (`StructureModel.misfits`)."""

    def partial(self, state: State, values: Matrix, row: Int64) -> Statistic:
        """Gather what the pass needs of B usable rows, maybe none: values (B, d), finite, and their
        numbers within the dataset (B,)."""

    def merge(self, first: Statistic, second: Statistic) -> Statistic:
        """Return the statistic of both's rows."""

    def update(self, state: State, statistic: Statistic) -> State:
        """Return the state one pass later, given the statistic of all rows. Raises PoolError where
        the rows have no such structure, by the structure's key."""

    def finish(self, state: State) -> FittedStructure:
        """Return what was fitted, of a state that is done."""
