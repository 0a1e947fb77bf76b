"""The steps of selections: choose rows, and keep what a round of them was worth. See `steps`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from distill.labelers.recipe import Recipe
from distill.labels.label_set import LabelSet
from distill.loader.dataset import Dataset
from distill.pools.chosen import ChosenRound
from distill.pools.open_pool import OpenPool
from distill.spec.selections import SelectBy


@dataclass(frozen=True)
class SelectStep:
    """Choose rows of a pool; `rounds` are those that are chosen."""

    name: str
    folder: str
    pool_rows: int
    rounds: tuple[ChosenRound, ...]
    inputs: SelectInputs | None = None  # None where it is done


@dataclass(frozen=True)
class SelectInputs:
    """What rows are chosen from, and how."""

    by: SelectBy
    number: int  # of the round
    rows: int
    seed: int
    without_duplicates: float | None
    pool: OpenPool
    # the pool's rows, as the lowest structure sees them; without one nobody reads them
    dataset: Dataset
    structure: Recipe | None  # what says the clusters, or alone what is seen of a row
    has_clusters: bool
    labels: LabelSet | None  # of which the least sure rows are chosen
    # folders of its own former rounds, and of the selections that it comes after
    former: tuple[str, ...]
    most_rows: int  # rows of a chunk, at most
    asked: str
    pins: Mapping[str, str]


@dataclass(frozen=True)
class MeasureStep:
    """Keep what the last round of a selection was worth, and what the next one will be."""

    name: str
    folder: str
    number: int  # of the round
    rounds: int  # of which there may be so many
    rows: int  # of all rounds up to it
    next_rows: int
    students: tuple[str, ...]  # variants that learned from it
    stop_below: float | None
    seed: int
