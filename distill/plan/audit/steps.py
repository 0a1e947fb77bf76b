"""The steps of an audit: rows drawn by hashes and written as addresses, models asked about them, and
what is to be found. See `plan.steps`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.loader.dataset import Dataset
from distill.plan.candidates import Method
from distill.pools.split import RowSet
from distill.spec.outputs import Outputs

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HoldOutStep:
    """Divide a pool into rows that the job may learn from and rows that are held out."""

    folders: Mapping[str, str]
    """Where the addresses of each pool go, by its name."""
    sets: Mapping[str, RowSet]
    columns: tuple[str, ...]
    how: str
    """Digest of share and seed: what was divided otherwise is refused."""
    content: str
    """Digest of what is divided."""


@dataclass(frozen=True)
class Source:
    """Rows that are read to be asked about; of a dataset all, or those of some numbers."""

    dataset: Dataset
    rows: Rows | None = None


@dataclass(frozen=True)
class Asked:
    """One model, or what a label set has stored, and the rows that it is asked about."""

    name: str
    """What no other of the audit has."""
    method: Method
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class SubjectStep:
    """One subject with its shadows."""

    at: str
    name: str
    key: str
    target: Asked
    shadows: Sequence[Asked]
    """In the order of the shadows; none where there are none."""
    canaries: Asked | None = None
    """What the run with canaries says of them."""
    canary_shadows: Sequence[Asked] = ()
    """What shadows say of canaries, which none of them was taught."""
    statement: Mapping[str, object] | None = None
    without_shadows: str = ""


@dataclass(frozen=True)
class DoublesStep:
    """Find tried rows that taught nothing, but have the features of a row that did."""

    tried: Dataset
    members: Dataset
    """All of them, and not the tried ones alone."""
    members_pool: str
    others_pool: str
    is_share: bool
    """Whether the others are a share of the members' pool."""


@dataclass(frozen=True)
class AuditStep:
    """Ask all subjects, and find what can be told of who taught them."""

    members_pool: str
    others_pool: str
    truth: Outputs
    members: int
    """Tried rows that taught; they come first in all that is asked."""
    subjects: tuple[SubjectStep, ...]
    doubles: DoublesStep
    taught: npt.NDArray[np.bool_]
    """Which shadow was taught which tried row, (shadows, rows)."""
    taught_canaries: npt.NDArray[np.bool_]
    delta: float
    confidence: float
    seed: int
