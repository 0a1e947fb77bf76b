"""`kmeans`: clusters of rows around k centres.

    look                  what the rows are like             `kmeans_start`
    start …, weigh        where centres begin                `kmeans_start`
    means …               each moves to its rows' mean       `kmeans_means`
    measure               inertia, sizes, separation         `kmeans_fitted`

With two levels, `start` to `means` find about √k coarse centres, and before `measure` come

    cells, split          where fine centres begin           `kmeans_split`
    fine means …          each moves to its rows' mean
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from distill.labelers.structure.base import Arrays, Plain, State, first_state
from distill.labelers.structure.kind import StructureKind
from distill.labelers.structure.kmeans_fitted import FittedKmeans, Measure, fitted_kmeans
from distill.labelers.structure.kmeans_means import Means
from distill.labelers.structure.kmeans_rows import RowChoice
from distill.labelers.structure.kmeans_split import CountCells, Split
from distill.labelers.structure.kmeans_start import Look, Start, Weigh
from distill.labelers.structure.phases import Phase, PhasedFit
from distill.spec.base import Positive
from distill.spec.structures import StructureOutput

TWO_LEVELS_FROM = 10_000
"""Clusters from which they are found by two levels, where the table does not say."""
_COARSE_PASSES = 10


class Kmeans(StructureKind):
    """Clusters of rows around k centres (Lloyd 1982)."""

    gives = ("cluster", "soft", "distances")
    features = "distances"
    on_gpu = True
    has_groups = True

    kind: Literal["kmeans"]
    k: Annotated[int, Field(ge=2, le=10_000_000)]
    """Clusters. One would say nothing of a row, so 2 is the fewest."""
    passes: Positive = 25
    """The most, after the start."""
    tolerance: Annotated[float, Field(ge=0)] = 1e-4
    """Passes end where the centres move by no more than this in all (the sum of squares, over the
    mean variance of a column)."""
    start: Literal["k-means||", "random"] = "k-means||"
    """`k-means||`: rows far from those that were drawn before are drawn more often, in a few passes
    (Bahmani et al. 2012). `random`: k rows, in one pass."""
    spherical: bool = False
    """Whether rows and centres are brought to length 1 first, so that cosines are compared."""
    sample_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The share of rows that a pass counts, another one each (mini-batch)."""
    levels: Literal[1, 2] | None = None
    """2: about √k clusters first, then clusters within each, so that a row is compared with some
    2·√k centres. Default: 2 for k of 10,000 and more."""

    @property
    def is_two_level(self) -> bool:
        """Whether clusters are found within clusters."""
        levels = self.levels or (2 if self.k >= TWO_LEVELS_FROM else 1)
        return levels == 2

    def output(self, gives: str) -> StructureOutput:
        if gives == "cluster":
            return StructureOutput(1)
        if gives == "distances":
            return StructureOutput(self.k)
        names = tuple(map(str, range(self.k)))
        return StructureOutput(self.k, names)

    def misfits(self, width: int, rows: int) -> Iterator[str]:  # noqa: ARG002  of any width
        if self.k > rows:
            yield (
                f"k = {self.k}: there are {rows} rows, fewer than clusters. Set it to fewer, or"
                " add rows."
            )

    def fit(self, seed: int, where: str) -> KmeansFit:
        return KmeansFit(self, seed, where)

    @classmethod
    def load(cls, arrays: Arrays, plain: Plain) -> FittedKmeans:
        return FittedKmeans(arrays, plain)


@dataclass(frozen=True)
class KmeansFit(PhasedFit):
    """The fit of `kmeans`. See `PassFit`."""

    model: Kmeans
    seed: int
    where: str
    device: str = "cpu"
    """Where passes compute: a GPU by torch's name for it, `cuda`."""

    def on(self, device: str) -> KmeansFit:
        """Return the fit whose passes compute there."""
        return replace(self, device=device)

    def begin(self, width: int, rows: int) -> State:
        """Return the state before the first pass. Raises JobError."""
        self.require_fit(width, rows)
        return first_state("look")

    @property
    def phases(self) -> Mapping[str, Phase]:
        """By name."""
        choice = RowChoice(self.seed, self.model.spherical, self.device)
        k = self._first_clusters
        is_random = self.model.start == "random"
        is_two_level = self.model.is_two_level
        passes = min(_COARSE_PASSES, self.model.passes) if is_two_level else self.model.passes
        return {
            "look": Look(choice, k, self.model.k, is_random, self.where),
            "start": Start(choice, k, self.where),
            "weigh": Weigh(choice, k),
            "means": self._means(choice, passes, "cells" if is_two_level else "measure"),
            "cells": CountCells(choice, self.model.k),
            "split": Split(choice),
            "fine means": self._means(choice, self.model.passes, "measure"),
            "measure": Measure(choice),
        }

    def finish(self, state: State) -> FittedKmeans:
        """Return the clusters."""
        return fitted_kmeans(state, self.model.spherical)

    @property
    def _first_clusters(self) -> int:
        """Clusters that are found first."""
        return round(np.sqrt(self.model.k)) if self.model.is_two_level else self.model.k

    def _means(self, choice: RowChoice, passes: int, then: str) -> Means:
        model = self.model
        return Means(
            choice=choice,
            passes=passes,
            tolerance=model.tolerance,
            fraction=model.sample_fraction,
            then=then,
            where=self.where,
        )
