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

PASSES = "passes"
"""Folder of the passes of a fit, beside its record."""


@dataclass(frozen=True)
class StructureStep:
    """Fit a structure by passes over rows; `record` says that it is done."""

    name: str
    folder: str
    record: ModelRecord | None
    inputs: StructureInputs | None = None
    """None where it is done."""


@dataclass(frozen=True)
class StructureInputs:
    """What a structure is fitted on."""

    model: StructureModel
    seed: int
    dataset: Dataset
    before: Recipe | None
    """The structure that it sees rows through."""
    width: int
    """Numbers in a row that it sees."""
    most_rows: int
    """Rows of a chunk, at most."""
    taught_by: Mapping[str, str]
    gpus: Gpus = 0
    """Of one task of a pass."""


@dataclass(frozen=True)
class LookStep:
    """Look at a fitted structure over the rows that it was fitted on, for people; `result` says
    that it is done."""

    name: str
    folder: str
    key: str
    """Of the result in the folder: its name says what was looked at."""
    result: StructureResult | None
    inputs: LookInputs | None = None
    """None where it is done."""


@dataclass(frozen=True)
class LookInputs:
    """What a look at a structure needs."""

    of: str
    pool: str
    """Names of its pools."""
    recipe: Recipe
    dataset: Dataset
    """Its rows as the lowest structure of its chain sees them, with the target as a column where
    the pools have one and the same."""
    shown: Dataset
    """The same rows as their pools have them."""
    classes: tuple[str, ...]
    """Of the target; empty without one."""
    rows: int
    """Rows that it was fitted on."""
    left_out: int


@dataclass(frozen=True)
class DriftStep:
    """Hold a pool against the rows that a structure was fitted on; `result` says that it is done."""

    name: str
    pool: str
    folder: str
    key: str
    """Of the result in the folder: its name says what was compared."""
    most: float | None
    """The limit that the job sets."""
    result: DriftResult | None
    inputs: DriftInputs | None = None
    """None where it is done."""


@dataclass(frozen=True)
class DriftInputs:
    """What it takes to hold a pool against a structure."""

    recipe: Recipe
    dataset: Dataset
    """The pool's rows as the lowest structure of its chain sees them."""
