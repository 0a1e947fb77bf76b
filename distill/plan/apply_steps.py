"""The steps of `distill apply`: choose where a student is sure, and write answers. See `steps`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from distill.core.cascades import CascadeResult
from distill.labels.label_set import LabelSet
from distill.loader.dataset import Dataset
from distill.pools.open_pool import OpenPool
from distill.spec.cascade import Cascade


@dataclass(frozen=True)
class Answered:
    """What a labeler has said of some rows of a pool: as a label set over the pool itself, or over
    a selection of it."""

    over: str  # the pool, or `select.NAME`
    labels: LabelSet
    folder: str = ""  # of the selection; "" of the pool itself
    # keys of the selection's files by the id of the pool's fragment whose rows they name
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shards: Mapping[str, int] = field(default_factory=dict)  # their numbers as shards, by key
    is_whole: bool = False  # whether these are all rows of the pool


@dataclass(frozen=True)
class CascadeStep:
    """Choose a threshold on labelled rows, and find the pool's rows that are sent on; `found` says
    that it is done."""

    name: str
    folder: str
    # name of the selection of all rows of the pool that the teacher is asked about
    selection: str
    selection_folder: str
    table: Cascade
    student: str
    pool: OpenPool
    labels: LabelSet  # the student's, over the pool
    # the labelled rows: their targets are the column `truth`, the student's labels `student`
    judged: Dataset
    asked: str  # digest of all that decides the choice
    pins: Mapping[str, str]
    fragment_rows: int
    answered: tuple[Answered, ...]  # rows that are not asked for again
    found: CascadeResult | None


@dataclass(frozen=True)
class SentRows:
    """Rows of a pool that somebody else answers."""

    result: CascadeResult
    folder: str  # of the selection that rows were added to
    answered: tuple[Answered, ...]  # who has them; of a row that several have, the first


@dataclass(frozen=True)
class WriteStep:
    """Write what was answered of a pool as files that others read."""

    name: str
    folder: str
    pool: OpenPool
    labels: LabelSet  # the student's, over the pool
    probabilities: bool  # whether those of all classes are written
    fragment_rows: int
    sent: SentRows | None
    about: Mapping[str, str]  # what the manifest says of where it comes from
    key: str = ""  # where the key lies that encrypts the files; "" where they are plain
