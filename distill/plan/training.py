"""What one training is, resolved: network, terms, sources. A fit by gradients and a student are the
same thing with other terms.

Terms that learn from label sets see the rows of `on`; a term that learns a target sees that pool's
rows. Each such group of pools is a source of its own, and every step takes a batch from each: the
combined loss is a sum of means, each over its own rows,

    L(θ) = Σ_t weight_t · E_{x ~ source_t} [ ℓ_t(f_θ(x), what t learns of x) ],

as the mathematics has it, whatever the sizes of the pools. The first source sets the length of an
epoch. Every batch has `batch_rows` rows, or of a target's source the share of them that
`batch_share` says. That is no λ: the means stay means over the rows that are seen. A smaller share
costs less a step, has fewer rows to estimate its mean by, and goes through its pool more slowly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from distill.job.sweep import Variant
from distill.loader.dataset import Dataset
from distill.loader.sampler import Sampler, cut_chunks
from distill.models.custom_source import Code
from distill.models.losses.custom import CustomLoss
from distill.models.record import HeadPlan, ModelRecord, NetworkPlan, read_record
from distill.plan.datasets import (
    PoolGroup,
    dataset_of,
    group_dataset,
    pool_groups,
    pools_of,
    replaying,
)
from distill.plan.held_out import fit_student, usual_loss
from distill.plan.identity import fit_folder, held_out_pins, student_folder, student_pins
from distill.plan.pretrained import student_with_files
from distill.plan.privacy import PRIVACY, inherited_statements
from distill.plan.widths import head_widths, term_width
from distill.plan.workspace import Workspace
from distill.spec.losses import CustomLossCall, Loss
from distill.spec.models import Training
from distill.spec.outputs import Outputs
from distill.spec.students import MAIN, HeldOut, Ramp, RowWeight, Student, Term


@dataclass(frozen=True)
class TermPlan:
    """One term with its classes found among the head's."""

    text: str  # for people: `KL(T=4) to labels.large`
    column: str
    source: int
    head: str
    loss: Loss
    weight: float
    target: bool
    # where the source's classes stand in the head; None where they are the head's, in its order
    positions: tuple[int, ...] | None
    own: CustomLossCall | None = None  # where the loss is of the user's own
    ramp: Ramp | None = None
    # numbers that its source has a row, where that is not the head's width: learned through a
    # projection (`distill.stages.train.projection`)
    projected: int | None = None
    row_weight: RowWeight | None = None

    @property
    def answer(self) -> str:
        """Which of the network's answers it is held against: the head's, or its projection's."""
        return self.head if self.projected is None else f"{self.head} → {self.column}"

    def weight_at(self, done: float) -> float:
        """λ when the share `done` of all steps is taken."""
        if self.ramp is None:
            return self.weight
        return self.ramp.begin + (self.weight - self.ramp.begin) * min(1.0, done / self.ramp.over)


@dataclass(frozen=True)
class HeldOutPlan:
    """By which rows and what measure a training stops. The term is the only one of its source."""

    source: Dataset
    term: TermPlan
    stop: HeldOut


@dataclass(frozen=True)
class TrainingPlan:
    """Everything a training worker needs."""

    key: str  # its table in the job file
    name: str
    folder: str
    plan: NetworkPlan
    heads: Mapping[str, Outputs]
    terms: tuple[TermPlan, ...]
    sources: tuple[Dataset, ...]
    training: Training
    seed: int
    taught_by: Mapping[str, str]
    most_chunk_rows: int
    description: Mapping[str, Any]  # for people: kept in the record
    lane_rows: tuple[int, ...]  # rows that a lane gives to a step, by source
    held_out: HeldOutPlan | None = None
    # whose lease is held meanwhile: of one of several teachers that of the whole fit
    lease: str | None = None
    # whose rows the sources have: of corrections the pool that they correct
    base_pools: tuple[str, ...] = ()

    @property
    def is_of_fit(self) -> bool:
        """Whether a labeler is fitted, and no student taught."""
        return self.key.startswith("fit.")

    @cached_property
    def steps(self) -> int:
        """Steps of all epochs, if nothing stops them early."""
        # kept: all rows are cut into chunks for it
        return self.training.epochs * self.order(0).steps_per_epoch

    @property
    def rows_seen(self) -> int:
        """Rows of batches that all steps together see, padding included."""
        return self.steps * self.training.batch_rows

    def order(self, source: int) -> Sampler:
        """In which order the rows of one source are seen."""
        rows, lanes = self.sources[source], self.training.lanes
        chunks = cut_chunks(rows.groups, lanes, rows.fitting(self.most_chunk_rows, lanes))
        return Sampler(
            chunks,
            lanes,
            self.lane_rows[source],
            self.seed,
            rows.block_rows,
            like_length=self.training.tokens is not None,
        )


def plan_fit(workspace: Workspace, name: str) -> TrainingPlan | ModelRecord:
    """Return the training of `fit.<name>`, or its record where it is done."""
    tables = workspace.tables
    fit = tables.fit[name]
    folder = fit_folder(workspace, name)
    done = read_record(folder)
    if done is not None:
        return done
    pool = fit.on
    outputs = tables.pool_outputs(pool)
    loss = usual_loss(outputs)
    student = fit_student(fit, loss)
    student = student_with_files(tables, student, f"fit.{name}")
    subject = _Subject(
        key=f"fit.{name}",
        variant=Variant(name, student),
        folder=folder.uri,
        heads={MAIN: outputs},
        code=tables.fit_code(name),
        pins={f"pools.{pool}": workspace.pool(pool).inventory.content},
    )
    return _training_plan(workspace, subject)


def plan_student(workspace: Workspace, variant: Variant) -> TrainingPlan | ModelRecord:
    """Return the training of a student, or its record where it is done. Raises ContractError where
    labels are missing or mean something else."""
    tables = workspace.tables
    student = variant.spec
    pins = student_pins(workspace, student)
    folder = student_folder(workspace, variant, pins)
    done = read_record(folder)
    if done is not None:
        return done
    key = f"students.{variant.student}"
    ready = student_with_files(tables, student, key)
    subject = _Subject(
        key=key,
        variant=replace(variant, spec=ready),
        folder=folder.uri,
        heads={head: tables.head_outputs(student, head) for head in student.head_names},
        code=tables.student_code(student, key),
        pins=pins,
    )
    return _training_plan(workspace, subject)


@dataclass(frozen=True)
class _Subject:
    """What is to be trained: a student, or a fit as if it were one."""

    key: str  # its table in the job file
    variant: Variant
    folder: str
    heads: Mapping[str, Outputs]
    code: Code
    pins: Mapping[str, str]


def _training_plan(workspace: Workspace, subject: _Subject) -> TrainingPlan:
    student = subject.variant.spec
    assert student.seed is not None  # filled in as the job was read
    groups = pool_groups(student)
    augment = student.training.augment
    bare = [group_dataset(workspace, student, group) for group in groups]
    datasets = tuple(replaying(replace(each, augment=augment)) for each in bare)
    widths = head_widths(workspace, student, subject.key)
    numbers = range(len(student.terms))
    terms = tuple(_term_plan(workspace, subject, number, groups, widths) for number in numbers)
    held_out = _held_out_plan(workspace, student, subject.heads)
    return TrainingPlan(
        key=subject.key,
        name=subject.variant.name,
        folder=subject.folder,
        plan=_network_plan(subject, datasets[0].width, widths),
        heads=subject.heads,
        terms=terms,
        sources=datasets,
        training=student.training,
        seed=student.seed,
        taught_by=subject.pins,
        most_chunk_rows=workspace.tables.fragment_rows,
        description=_description(workspace, subject, terms, held_out),
        lane_rows=tuple(student.lane_rows(group) for group in groups),
        held_out=held_out,
        base_pools=_base_pools(workspace, datasets),
    )


def _base_pools(workspace: Workspace, datasets: Sequence[Dataset]) -> tuple[str, ...]:
    taught = [inventory.pool for dataset in datasets for inventory in dataset.inventories]
    return tuple(dict.fromkeys(map(workspace.tables.base_pool, taught)))


def _network_plan(subject: _Subject, in_features: int, widths: Mapping[str, int]) -> NetworkPlan:
    student = subject.variant.spec
    models = {name: head.model for name, head in student.heads.items()}
    heads = {name: HeadPlan(widths[name], models.get(name)) for name in subject.heads}
    return NetworkPlan(in_features, student.model, heads, subject.code)


def _description(
    workspace: Workspace, subject: _Subject, terms: Sequence[TermPlan], held_out: HeldOutPlan | None
) -> dict[str, Any]:
    """What a person wants to know of the training; kept in the model's record."""
    description: dict[str, Any] = {
        "student": subject.variant.student,
        "changes": dict(subject.variant.changes),
        "terms": [f"{term.weight:g} · {term.text}" for term in terms],
    }
    spec = subject.variant.spec
    statements = inherited_statements(workspace, spec)
    if statements:
        description[PRIVACY] = [each.as_json() for each in statements]
    if held_out is not None:
        pins = held_out_pins(workspace, held_out.stop, spec.features)
        description["early_stop"] = {"measure": held_out.term.text, "pins": pins}
    return description


def _held_out_plan(
    workspace: Workspace, student: Student, heads: Mapping[str, Outputs]
) -> HeldOutPlan | None:
    """What says when to stop."""
    stop = student.early_stop
    if stop is None:
        return None
    tables = workspace.tables
    term = tables.held_out_term(stop)
    plan = _bare_term_plan(workspace, term, 0, 0, heads[stop.head])
    rows = str(stop.rows)
    pool = workspace.pool(rows)
    dataset = dataset_of(workspace, student, [pool], {plan.column: term})
    return HeldOutPlan(dataset, plan, stop)


def _term_plan(
    workspace: Workspace,
    subject: _Subject,
    number: int,
    groups: Sequence[PoolGroup],
    widths: Mapping[str, int],
) -> TermPlan:
    """One term with its dataset, and its projection where it has another width than its head."""
    student = subject.variant.spec
    term = student.terms[number]
    pools = pools_of(student, term)
    source = groups.index(pools)
    plan = _bare_term_plan(workspace, term, number, source, subject.heads[term.head])
    head = student.heads.get(term.head)
    if head is None or head.width is None:
        return plan
    width = term_width(workspace, term)
    own = widths[term.head]
    if width == own:
        return plan
    return replace(plan, projected=width, text=f"{plan.text}, projected from {own} to {width}")


def _bare_term_plan(
    workspace: Workspace, term: Term, number: int, source: int, head: Outputs
) -> TermPlan:
    classes = workspace.tables.term_outputs(term).classes
    positions = None
    if classes != head.classes:
        positions = tuple(head.positions[name] for name in classes)
    text = term_text(term)
    custom = None
    if isinstance(term.loss, CustomLoss):
        file = workspace.tables.custom_source(term.loss, f"terms.{number}.loss")
        custom = CustomLossCall(file, term.loss.name, text)
    return TermPlan(
        text=text,
        column=str(number),
        source=source,
        head=term.head,
        loss=term.loss,
        weight=term.weight,
        target=term.pool is not None,
        positions=positions,
        own=custom,
        ramp=term.ramp,
        row_weight=term.row_weight,
    )


def term_text(term: Term) -> str:
    """Say a term in words, such as "kl at T=4 to labels.large"."""
    text = term.loss.kind.replace("_", " ")
    loss = term.loss
    temperature = loss.label_temperature or 1.0
    if temperature != 1.0:
        text += f" at T={temperature:g}"
    text += f" to {term.learns}"
    if term.ramp:
        text += f", from weight {term.ramp.begin:g}"
    if term.row_weight:
        text += f", rows weighted by {term.row_weight.kind.replace('_', ' ')}"
    return text
