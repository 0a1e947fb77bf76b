"""The steps of a job: frozen, each with everything that its stage needs and nothing of the job file.

A step names its inputs, the folder that it writes and, where its inputs are there, what is done
already. Stages (`distill.stages`) take a step and an engine; what they hand to workers are plain
dataclasses. Steps are made by `distill.plan.plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.core.results import LabelSetResult
from distill.labelers.calibration import Calibration
from distill.labelers.recipe import Recipe
from distill.labels.contract import Contract
from distill.labels.state import LabelSetState
from distill.loader.dataset import Dataset
from distill.loader.grouped_votes import GroupedVotes
from distill.loader.merged_values import MergedValues, StoredValues
from distill.models.custom_source import Code
from distill.models.files import ModelFiles
from distill.models.record import ModelRecord
from distill.plan.candidates import Candidate
from distill.plan.slicing import LabelSlicing, Slicing
from distill.plan.training import TrainingPlan
from distill.plan.votes import VotesStep
from distill.pools.inventory import Inventory
from distill.pools.open_pool import OpenPool
from distill.spec.evaluation import Gate
from distill.spec.labels import Compute
from distill.spec.models import Eszsl
from distill.spec.networks import Ngrams
from distill.spec.outputs import Outputs
from distill.spec.pools import Features


@dataclass(frozen=True)
class MakePoolStep:
    """Fill a pool's folder by a function of the user's."""

    name: str
    uri: str
    root: str
    made_by: str  # `FILE.py:FUNCTION`, relative to the job file
    job_file: Path


@dataclass(frozen=True)
class MakeModelStep:
    """Fill a model's folder by a function of the user's."""

    where: str  # key that names the function
    uri: str
    root: str
    made_by: str
    job_file: Path


@dataclass(frozen=True)
class FitStep:
    """Fit a labeler by passes over labelled rows; `record` says that it is done."""

    name: str
    folder: str
    record: ModelRecord | None
    inputs: FitInputs | None = None  # None where it is done


@dataclass(frozen=True)
class FitInputs:
    """What ESZSL is fitted on."""

    model: Eszsl
    dataset: Dataset
    most_rows: int  # rows of a chunk, at most
    classes: tuple[str, ...]
    descriptions: Sequence[Sequence[str]]  # cells of each class's row
    encoder: ModelFiles | None  # of descriptions that are texts
    seen: tuple[str, ...]  # classes that have labelled rows
    taught_by: Mapping[str, str]


@dataclass(frozen=True)
class TrainStep:
    """Train one network by gradients; `record` says that it is done, `plan` how to train it."""

    name: str  # `students.NAME` or `fit.NAME`
    record: ModelRecord | None
    plan: TrainingPlan | None
    teacher_of: str | None = None  # `fit.NAME`, of which it is one of several teachers


@dataclass(frozen=True)
class CalibrateStep:
    """Find the temperature of a labeler on labelled rows; `found` says that it is done."""

    name: str
    folder: str
    found: Calibration | None
    recipe: Recipe
    contract: Contract
    pool: OpenPool
    values: StoredValues | None  # what the labeler sees in place of the pool's features
    truth: Outputs
    fragment_rows: int
    compute: Compute


@dataclass(frozen=True)
class AnnotatorsStep:
    """Find how often each party of a merge errs; `found` says that it is done."""

    name: str
    folder: str
    found: ModelRecord | None
    parties: tuple[str, ...]
    values: tuple[MergedValues, ...]  # what they wrote over each pool
    inventories: tuple[Inventory, ...]
    outputs: Outputs
    passes: int
    tolerance: float
    key: str  # where the key lies that encrypts what is found; "" where nothing is encrypted


@dataclass(frozen=True)
class PooledStep:
    """Find the mean votes of each group; `found` says that it is done."""

    name: str
    folder: str
    found: ModelRecord | None
    values: GroupedVotes
    inventories: tuple[Inventory, ...]
    key: str  # as of `AnnotatorsStep`


@dataclass(frozen=True)
class LabelPart:
    """One pool of a labelling, and what is stored of it."""

    pool: OpenPool
    stored: LabelSetState
    # what its labeler sees in place of the pool's features: another label set's values
    values: StoredValues | None = None

    @property
    def features(self) -> Features | StoredValues:
        """What its labeler sees of a row."""
        return self.values or self.pool.seen_features

    @property
    def width(self) -> int:
        """Numbers in a row of them. Raises PoolError."""
        return self.values.width if self.values else self.pool.width


@dataclass(frozen=True)
class LabelStep:
    """Write one labeler's word over its pools."""

    name: str
    root: str
    recipe: Recipe
    contract: Contract
    parts: tuple[LabelPart, ...]
    fragment_rows: int
    compute: Compute
    max_rejected_fraction: float
    strict: bool  # whether labels made on several kinds of devices or libraries are refused
    # which rows it covers twice, a sentence for each pair of pools
    shared_rows: tuple[str, ...] = ()
    votes: VotesStep | None = None  # of noisy votes: what it asks of its teachers


@dataclass(frozen=True)
class PreviewStep:
    """Ask a labeler about some rows, before anything is paid for."""

    name: str
    recipe: Recipe
    contract: Contract
    outputs: Outputs  # what its answers mean
    pool: OpenPool
    strict: bool  # as of a `LabelStep`
    values: StoredValues | None = None  # as of a `LabelPart`


@dataclass(frozen=True)
class StoredLabelsStep:
    """One label set as it is stored, for what looks at it without labelling."""

    name: str
    version: int
    pool: str
    folder: str


@dataclass(frozen=True)
class VerifyStep:
    """Prove one label set as it is stored."""

    stored: StoredLabelsStep
    inventory: Inventory | None  # None where the pool was never listed
    fragment_rows: int
    job_file: Path
    selection: str | None = None  # folder of the selection that the pool is, if it is one


@dataclass(frozen=True)
class PoweredPlan:
    """Rows that the teacher alone labelled, to judge students by beside those of people."""

    pool: OpenPool
    candidates: tuple[Candidate, ...]  # the teacher and the students, over that pool
    strata: LabelSlicing | None  # over the test pool
    other_strata: LabelSlicing | None  # over that pool
    # whether it is the test pool: then it means those of its rows that have no target
    same_pool: bool


@dataclass(frozen=True)
class GatePlan:
    """Rules, and the keys of who is held against them and beside whom."""

    gate: Gate
    students: tuple[str, ...]
    teacher: str | None
    former: str | None


@dataclass(frozen=True)
class EvaluateStep:
    """Judge label sets and students on the rows of one test pool."""

    folder: str
    job_name: str
    job_text: str
    pool: OpenPool
    truth: Outputs
    candidates: tuple[Candidate, ...]
    teacher: str | None  # key of the method that agreement is measured against
    label_sets: tuple[LabelSetResult, ...]
    former: str | None = None  # key of the former student that others are held against
    slicings: tuple[Slicing, ...] = ()
    powered: PoweredPlan | None = None
    gate: GatePlan | None = None


@dataclass(frozen=True)
class SeenEncoder:
    """The model whose stored embeddings a student saw."""

    where: str  # key of its label set's labeler
    files: ModelFiles
    normalize: bool  # whether its embeddings were scaled to length 1 when they were stored


@dataclass(frozen=True)
class ExportStep:
    """Write one finished student as files of its own."""

    name: str
    folder: str
    record: ModelRecord
    pool: OpenPool  # the first of those that taught it
    ngrams: Ngrams | None
    code: Code
    stopped_on: str | None  # the pool whose rows its training was stopped by
    # what it saw the embeddings of, in place of the pool's features
    seen: SeenEncoder | None = None
