"""A fit as a sequence of phases, each of one or more passes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Protocol

from distill.core.errors import JobError
from distill.labelers.base import Matrix
from distill.labelers.structure.base import FittedStructure, Int64, State, Statistic
from distill.spec.structures import StructureModel


class Phase(Protocol):
    """What passes of one purpose gather, and what follows from it."""

    def partial(self, state: State, values: Matrix, row: Int64) -> Statistic:
        """See `PassFit.partial`."""

    def update(self, state: State, statistic: Statistic) -> State:
        """See `PassFit.update`. The state's `phase` names the phase of the next pass."""


class PhasedFit:
    """A `PassFit` whose passes are those of its phases."""

    model: StructureModel
    where: str

    @property
    @abstractmethod
    def phases(self) -> Mapping[str, Phase]:
        """By name."""

    @abstractmethod
    def finish(self, state: State) -> FittedStructure:
        """See `PassFit.finish`."""

    def partial(self, state: State, values: Matrix, row: Int64) -> Statistic:
        """Gather what the state's phase needs of some rows."""
        return self.phases[state.phase].partial(state, values, row)

    def merge(self, first: Statistic, second: Statistic) -> Statistic:
        """Return the statistic of both's rows."""
        return {name: part.merge(second[name]) for name, part in first.items()}

    def update(self, state: State, statistic: Statistic) -> State:
        """Return the state one pass later."""
        return self.phases[state.phase].update(state, statistic)

    def require_fit(self, width: int, rows: int) -> None:
        """Raise JobError where the table does not fit rows of `width` numbers."""
        for misfit in self.model.misfits(width, rows):
            raise JobError(f"{self.where}.model.{misfit}")
