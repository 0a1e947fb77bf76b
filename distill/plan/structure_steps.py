"""The steps of structures: fit them, look at them, hold other pools against them. See `steps`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from distill.core.structure_results import DriftResult, StructureResult
from distill.labelers.recipe import Recipe
from distill.loader.dataset import Dataset
from distill.models.record import ModelRecord
from distill.spec.base import Gpus
from distill.spec.structures import StructureModel

PASSES = "passes"  # folder of the passes of a fit, beside its record


@dataclass(frozen=True)
class StructureStep:
    """Fit a structure by passes over rows; `record` says that it is done."""

    name: str
    folder: str
    record: ModelRecord | None
    inputs: StructureInputs | None = None  # None where it is done


@dataclass(frozen=True)
class StructureInputs:
    """What a structure is fitted on."""

    model: StructureModel
    seed: int
    dataset: Dataset
    before: Recipe | None  # the structure that it sees rows through
    width: int  # numbers in a row that it sees
    most_rows: int  # rows of a chunk, at most
    taught_by: Mapping[str, str]
    gpus: Gpus = 0  # of one task of a pass


@dataclass(frozen=True)
class LookStep:
    """Look at a fitted structure over the rows it was fitted on; `result` says that it is done."""

    name: str
    folder: str
    key: str  # of the result in the folder: its name says what was looked at
    result: StructureResult | None
    inputs: LookInputs | None = None  # None where it is done


@dataclass(frozen=True)
class LookInputs:
    """What a look at a structure needs."""

    of: str
    pool: str  # names of its pools
    recipe: Recipe
    # its rows as the lowest structure of its chain sees them, with the target as a column where
    # the pools have one and the same
    dataset: Dataset
    shown: Dataset  # the same rows as their pools have them
    classes: tuple[str, ...]  # of the target; empty without one
    rows: int  # rows that it was fitted on
    left_out: int


@dataclass(frozen=True)
class DriftStep:
    """Hold a pool against the rows that a structure was fitted on; `result` says that it is done."""

    name: str
    pool: str
    folder: str
    key: str  # of the result in the folder: its name says what was compared
    most: float | None  # the limit that the job sets
    result: DriftResult | None
    inputs: DriftInputs | None = None  # None where it is done


@dataclass(frozen=True)
class DriftInputs:
    """What it takes to hold a pool against a structure."""

    recipe: Recipe
    dataset: Dataset  # the pool's rows as the lowest structure of its chain sees them
