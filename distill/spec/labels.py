"""`[labels.NAME]`: which labeler writes a label set, over which pools, in which encoding.

`labeler` is an extension point: here are the tables of labelers that other tables or files of a job
bring; those that bring a model, or nothing, are in `distill.labelers`, a class and a file each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from distill.spec.augment import Augment
from distill.spec.base import BatchRows, Gpus, Place, Positive, Table, Temperature, require_once
from distill.spec.kinds import Kind
from distill.spec.privacy import Encryption, Reveal

Precision = Literal["float32", "bfloat16", "float16"]
Answers = Literal["logits", "probabilities"]


OWN = "labels."  # how a key begins that names a label set of the job


class LabelerTable(Kind):
    """`labeler` of a label set."""


class MemberTable(LabelerTable):
    """A labeler that may be a member of an ensemble: all but ensembles."""

    own_precision: ClassVar[bool] = False
    """Whether it chooses its own precision: `precision` of the label set must then be left out."""

    answers: Answers | None = None
    """As what it gives its outputs: probabilities are turned into logits before anything else.
    Default: what a class of the user's own says in its `answers`, else logits."""


class Fitted(MemberTable):
    """What `[fit.NAME]` trained."""

    kind: Literal["fitted"]
    fit: str


class Taught(MemberTable):
    """A student that this job trained. No job file names it, since label sets come before the
    students that learn from them: `distill apply` labels by it."""

    kind: Literal["taught"] = "taught"
    student: str
    """With the changes of its sweep, if it has one."""
    head: str
    width: Positive = 1


# no kind that a job file may name: validation knows those that are registered
del LabelerTable._registered["taught"]


class Structured(MemberTable):
    """What `[structure.NAME]` found, told of each row that it sees."""

    own_precision = True

    kind: Literal["structure"]
    structure: str
    gives: str
    """Of a row: `coordinates` (pca), `cluster`, `soft` or `distances` (kmeans), `unit` or
    `position` (som). `soft` are logits over the clusters, named by their numbers; all others are
    values."""


class Custom(MemberTable):
    """A class of the user's own."""

    own_precision = True

    kind: Literal["custom"]
    file: Place
    """Python file, relative to the job file. It is shipped to the workers as source."""
    name: str = "Labeler"
    """The class in that file. Its `revision` and `classes` stand in the contract, and its
    `precision` where it is not float32."""


class Merge(MemberTable):
    """Label sets that several have written over the same files, made one row by row: parties label
    a public pool by their own models under their own roots, and neither data nor weights travel."""

    own_precision = True

    kind: Literal["merge"]
    of: Annotated[tuple[Place, ...], Field(min_length=2)]
    """`labels.NAME` of this job, or where another root keeps one: `ROOT/labels/NAME/vN`. Their
    classes are the same, in whatever order, or their values of one width."""
    by: Literal["mean", "median", "trimmed", "dawid_skene"] = "mean"
    """Of the parties' probabilities, or values, each number by itself. `median` and `trimmed` are
    bounded whatever one party writes. `dawid_skene` weighs the parties' votes by how often each
    errs, which it finds from the votes alone."""
    trim: Annotated[float, Field(gt=0, lt=0.5)] = 0.2
    """Share of the parties that `trimmed` leaves out at either end."""
    passes: Positive = 100
    """Over all rows, at the most, by `dawid_skene`."""
    tolerance: Annotated[float, Field(ge=0)] = 1e-5
    """It ends where a pass makes a row's votes likelier by less than this, in nats."""
    missing: Literal["refuse", "leave_out"] = "refuse"
    """What a party is that has not labelled all rows: an error, or left out where it has not."""

    @model_validator(mode="after")
    def _each_once(self) -> Merge:
        require_once(self.of, "of")
        if self.answers is not None:
            raise ValueError("answers: each party's contract says what it wrote; leave it out")
        return self

    @property
    def own(self) -> tuple[str, ...]:
        """The label sets of this job among them."""
        own = [each for each in self.of if each.startswith(OWN)]
        return tuple(each.removeprefix(OWN) for each in own)


class Pooled(MemberTable):
    """Votes that rows of a group share: what a label set says of a row, brought nearer to what it
    says in the mean of the group that another one puts it into (zero-shot votes within clusters)."""

    own_precision = True

    kind: Literal["pooled"]
    votes: Annotated[str, Field(pattern=r"^labels\..+")]
    """`labels.NAME`, of exclusive classes, stored whole."""
    groups: Annotated[str, Field(pattern=r"^labels\..+")]
    """`labels.NAME` that gives a `cluster` or `unit`, or classes."""
    own_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How much of the row's own vote is kept."""

    @property
    def votes_of(self) -> str:
        """The name in `votes`."""
        return self.votes.removeprefix(OWN)

    @property
    def groups_of(self) -> str:
        """The name in `groups`."""
        return self.groups.removeprefix(OWN)


class Ensemble(LabelerTable):
    """Several labelers asked about the same rows, which are read once: the mean of what they say,
    and how far they disagree, a row."""

    kind: Literal["ensemble"]
    members: Annotated[tuple[MemberTable, ...], Field(min_length=2)]
    """All say the same classes, in whatever order, or values of the same width."""
    weights: tuple[Annotated[float, Field(gt=0, le=1e9)], ...] | None = None
    """One for each; what counts is their share of the sum. Default: all alike."""

    @model_validator(mode="after")
    def _one_weight_each(self) -> Ensemble:
        if self.weights is not None and len(self.weights) != len(self.members):
            raise ValueError(
                f"has {len(self.members)} members and {len(self.weights)} weights;"
                " give one for each"
            )
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """Weights that sum to 1."""
        weights = self.weights or (1.0,) * len(self.members)
        total = sum(weights)
        return tuple(weight / total for weight in weights)


class Dense(Table):
    """Every logit of every row; exact at all temperatures."""

    kind: Literal["dense"]
    dtype: Literal["float32", "float16"] = "float32"


class TopK(Table):
    """The k largest logits and, for each declared temperature, the log-normaliser: exact at those,
    refused at others."""

    kind: Literal["topk"]
    k: Positive
    values: Literal["uint8", "float16"] = "uint8"
    """How a kept logit is stored. `uint8` adds less than 1e-3 nats of KL to a row at temperatures
    from 0.5 to 20 (leaving the other classes out costs a student far more) and takes a third of
    float16's bytes for it: top-16 of 1,000 classes are 31 bytes a row, not 50."""
    temperatures: Annotated[tuple[Temperature, ...], Field(min_length=1)] = (1.0,)


class Value(Table):
    """Numbers that are no logits: regression values, embeddings."""

    kind: Literal["value"]
    dtype: Literal["float32", "float16"] = "float32"


class Compute(Table):
    """What the pool of labeler actors may take."""

    gpus: Gpus = "auto"
    cpus: Annotated[float, Field(gt=0)] = 1
    min: Positive = 1
    """Actors at the least."""
    max: Positive = 1
    """Actors at the most."""
    prepare_on: Literal["actor", "cluster"] = "actor"
    """Where rows are read and decoded. `cluster`: in tasks on any node, where decoding (images)
    would keep the labeler waiting."""
    prepare_cpus: Annotated[float, Field(gt=0)] = 1
    """CPUs of one such task."""

    @model_validator(mode="after")
    def _range(self) -> Compute:
        if self.min > self.max:
            raise ValueError(f"min = {self.min} is more than max = {self.max}")
        return self


class Views(Table):
    """Each image answered several times, each time altered otherwise, beside the answer to the image
    as it is: students see the same alterations while they learn from those answers, in epoch e view
    1 + (e mod `count`). The labeler works `count` + 1 times as long."""

    count: Annotated[int, Field(ge=1, le=64)]
    augment: Augment
    """How images are altered."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """What is drawn, with the view, the file and the row."""


class Labels(Table):
    """The labels of one labeler over one or more pools."""

    labeler: LabelerTable
    over: Annotated[tuple[str, ...], Field(min_length=1)]
    """Pools to label."""
    encoding: Annotated[Dense | TopK | Value, Field(discriminator="kind")] | None = None
    """Default: `dense` for logits, `value` for values."""
    views: Views | None = None
    """Altered images that are answered too."""
    format: Literal["arrow", "parquet"] = "arrow"
    """Of the data files. Arrow is faster; Parquet is for lakes whose other readers expect it."""
    reveal: Reveal | None = None
    """What of the labeler's answers is stored, where that is to be less than all."""
    encryption: Encryption | None = None
    """Encrypts data files and rejects, where `format = "parquet"`."""
    version: Positive = 1
    """Raise it where the contract changed on purpose: the labels then live in `v2`."""
    batch_rows: BatchRows = 256
    """Rows a call of the labeler; part of the contract, since it changes the last bits."""
    precision: Precision = "float32"
    """In which numbers a network computes; a custom labeler says it in its class."""
    calibrate_on: str | None = None
    """A pool with a target: the labeler's logits are divided by the temperature that makes its rows
    likeliest, before anything is written."""
    deterministic: Literal["recorded", "strict"] = "recorded"
    """Each commit records device and library versions. Strict: labels made on more than one kind of
    them are refused."""
    compute: Compute = Compute()
    max_rejected_fraction: Annotated[float, Field(ge=0, le=1)] = 0.01
    """More rejected rows than this stop the job."""

    @model_validator(mode="after")
    def _combinations(self) -> Labels:
        require_once(self.over, "over")
        if self.encryption is not None and self.format != "parquet":
            raise ValueError(
                f'encryption is of Parquet, and format = {self.format!r}; say format = "parquet"'
            )
        return self

    @property
    def key(self) -> str:
        """Where the key lies that encrypts what is written of it; "" where nothing is encrypted."""
        return "" if self.encryption is None else self.encryption.key

    @property
    def merge(self) -> Merge | None:
        """Its labeler, where that makes one of several label sets."""
        return self.labeler if isinstance(self.labeler, Merge) else None

    @property
    def has_disagreement(self) -> bool:
        """Whether how far labelers disagree stands beside each row."""
        return isinstance(self.labeler, (Ensemble, Merge))

    def members(self, name: str) -> Iterator[tuple[str, MemberTable]]:
        """Yield the labelers that are asked, one or those of an ensemble, each with its key in the
        job file; `name` is that of the label set."""
        key = f"labels.{name}.labeler"
        if isinstance(self.labeler, MemberTable):
            yield key, self.labeler
        if isinstance(self.labeler, Ensemble):
            for number, member in enumerate(self.labeler.members):
                yield f"{key}.members.{number}", member
