"""`[students.NAME]`: a network, its heads, and the terms of its combined loss L(θ_S) + λ·L(θ)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.spec.base import (
    Name,
    PoolName,
    Positive,
    Seed,
    Table,
    require_distinct,
    require_once,
)
from distill.spec.losses import Loss
from distill.spec.models import EarlyStop, LabelFeatures, Learns, Training
from distill.spec.networks import Network

MAIN = "main"  # the head a term teaches when it names none


class Agreement(Table):
    """Rows on which an ensemble's members agree count more: exp(−disagreement / scale)."""

    kind: Literal["agreement"]
    scale: Annotated[float, Field(ge=1e-6)] = 0.1
    """Nats for classes (two members disagree by at most 0.69), the value's own unit for values."""


class Confidence(Table):
    """Rows of which the labeler is sure count more: the largest probability to a power. Of
    independent outputs: the mean of max(p, 1 − p)."""

    kind: Literal["confidence"]
    power: Annotated[float, Field(gt=0, le=1e6)] = 1.0


class Ramp(Table):
    """A term's weight moves evenly from `begin` to what it is, then stays."""

    begin: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    over: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of all steps that it takes."""


class ClassBalance(Table):
    """Rows of rare classes count more: (n / (C · n_c)) to a power, where n_c of n rows have the
    row's class, of C: the target's, or the label set's most probable one."""

    kind: Literal["class_balance"]
    power: Annotated[float, Field(gt=0, le=4)] = 1.0
    """1: all classes count alike; less is between that and all rows alike."""


class ClusterBalance(Table):
    """Rows of small groups count more: (n / (G · n_g)) to a power, where n_g of n rows lie in the
    row's group, of G that have any. Another label set says the group: the cluster or unit that a
    structure puts the row into, or its most probable class. A row that it rejected counts 0."""

    kind: Literal["cluster_balance"]
    labels: str
    """That label set, over every pool whose rows the term sees: of `gives = "cluster"` or
    `"unit"`, or of exclusive classes."""
    power: Annotated[float, Field(gt=0, le=4)] = 1.0
    """1: all groups count alike; less is between that and all rows alike."""


RowWeight = Annotated[
    Agreement | Confidence | ClassBalance | ClusterBalance, Field(discriminator="kind")
]


class Term(Learns):
    """One summand of the combined loss."""

    loss: Loss
    head: Name = MAIN
    weight: Annotated[float, Field(ge=0, le=1e9)] = 1.0
    """λ is one of these."""
    ramp: Ramp | None = None
    """How the weight is reached. Default: at once."""
    row_weight: RowWeight | None = None
    """How much each row counts within the term's mean. Default: all alike."""


class HeldOut(EarlyStop):
    """How a student's training stops: by a target, or by a label set."""

    over: Name | None = None
    """The pool whose labels it is measured by; for a label set."""
    head: Name = MAIN
    loss: Loss | None = None
    """Default: `cross_entropy` for exclusive classes, `binary_cross_entropy` for independent ones,
    `mse` for values."""

    @property
    def rows(self) -> str | None:
        """The pool whose rows are held out."""
        return self.pool or self.over


class Head(Table):
    """One output of a student."""

    classes: tuple[str, ...] | None = None
    """Names in order. Default: those of its terms, in the order of the terms."""
    model: Network | None = None
    """A network of its own (θ beside θ_S); without it the head sits on the student's trunk."""
    width: Positive | None = None
    """Of a head of values: how many it answers with, whatever its terms teach. A term that teaches
    another width is then learned through a linear map of its own from this width to that one,
    trained with the student and thrown away with the last step (FitNets, Romero et al. 2015). Such
    a head is a hint, which nobody judges. Default: the width of its terms."""

    @model_validator(mode="after")
    def _combinations(self) -> Head:
        if self.classes is not None:
            require_distinct(self.classes)
        if self.classes is not None and self.width is not None:
            message = "has classes and a width; a head of classes has as many outputs as classes"
            raise ValueError(message)
        return self


class Student(Table):
    """What is trained."""

    model: Network
    terms: Annotated[tuple[Term, ...], Field(min_length=1)]
    heads: dict[Name, Head] = {}
    """Only heads with classes, a width or a network of their own need to be named."""
    features: LabelFeatures | None = None
    """What it sees of a row. Default: the pool's features."""
    on: tuple[str, ...] = ()
    """Pools whose rows it sees with label sets. Default: all that its label sets share, except
    those it is judged or stopped on."""
    batch_share: dict[PoolName, Annotated[float, Field(gt=0, le=1)]] = {}
    """By pool of a target term: a step sees this share of `batch_rows` of its rows, and not as many
    as of the others. Each term's mean is over the rows it sees, so λ weighs the terms and this does
    not: it says what a step spends on which rows, and how often they come round."""
    rows: dict[PoolName, Positive] = {}
    """By pool: it learns from so many of its rows alone, drawn by the student's seed. Fewer are a
    part of more, so that `"rows.labelled" = [50, 100, 200]` in a `[sweep]` is a learning curve of
    one labelling. Of pools that are seen together all are named, or none. Default: all rows."""
    training: Training = Training()
    early_stop: HeldOut | None = None
    """Default: all epochs are trained, and the last one's weights kept."""
    seed: Seed | None = None
    """Default: the job's."""

    @model_validator(mode="after")
    def _each_pool_once(self) -> Student:
        require_once(self.on, "on")
        return self

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools whose rows it sees: those it is taught on, then the one it is stopped by."""
        held_out = self.early_stop.rows if self.early_stop else None
        if held_out is None or held_out in self.taught_on:
            return self.taught_on
        return (*self.taught_on, held_out)

    @property
    def taught_on(self) -> tuple[str, ...]:
        """The pools whose rows teach it: those of its label sets, then those of its targets."""
        targets = (term.pool for term in self.terms if term.pool)
        return tuple(dict.fromkeys((*self.on, *targets)))

    @property
    def head_names(self) -> tuple[str, ...]:
        """Heads in the order in which terms name them."""
        return tuple(dict.fromkeys(term.head for term in self.terms))

    @property
    def judged_heads(self) -> tuple[str, ...]:
        """All but hints: heads with a width of their own."""
        hints = {name for name, head in self.heads.items() if head.width is not None}
        return tuple(name for name in self.head_names if name not in hints)

    def lane_rows(self, pools: tuple[str, ...]) -> int:
        """Return how many rows each lane gives to a step, of pools that are seen together."""
        rows = self.training.batch_rows // self.training.lanes
        # only the pool of a target has a share, and it is seen alone
        share = self.batch_share.get(pools[0], 1.0) if len(pools) == 1 else 1.0
        return round(share * rows)

    def terms_of(self, head: str) -> tuple[Term, ...]:
        """Return the terms that teach one head."""
        return tuple(term for term in self.terms if term.head == head)
