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

from collections.abc import Mapping
from dataclasses import dataclass, replace

from distill.job.sweep import Variant
from distill.loader.dataset import Dataset
from distill.loader.sampler import Sampler, cut_chunks
from distill.models.custom_loss import CustomLossCall
from distill.models.custom_source import Code
from distill.models.record import HeadPlan, ModelRecord, NetworkPlan, read_record
from distill.plan.checks.losses import check_custom_losses
from distill.plan.checks.trial import check_network, require_one_width
from distill.plan.held_out import fit_student, usual_loss
from distill.plan.identity import fit_folder, held_out_pins, student_folder, student_pins
from distill.plan.sources import plan_datasets, pools_of, source_of
from distill.plan.widths import head_widths, term_width
from distill.plan.workspace import Workspace
from distill.spec.models import Fit, Training
from distill.spec.outputs import Outputs
from distill.spec.students import MAIN, CustomLoss, HeldOut, Loss, Ramp, RowWeight, Student, Term
from distill.storage.base import Storage


@dataclass(frozen=True)
class TermPlan:
    """One term with its classes found among the head's."""

    said: str
    """For people: `KL(T=4) to labels.large`."""
    column: str
    source: int
    head: str
    loss: Loss
    weight: float
    target: bool
    positions: tuple[int, ...] | None
    """Where the source's classes stand in the head; None where they are the head's, in its order.
    """
    own: CustomLossCall | None = None
    """Where the loss is of the user's own."""
    ramp: Ramp | None = None
    projected: int | None = None
    """Numbers that its source has a row, where that is not the head's width: learned through a
    projection (`distill.stages.train.projection`)."""
    row_weight: RowWeight | None = None

    @property
    def answer(self) -> str:
        """Which of the network's answers it is held against: the head's, or what its projection
        makes of it."""
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
    said: Mapping[str, object]
    """For people: kept in the record."""
    lane_rows: tuple[int, ...]
    """Rows that a lane gives to a step, by source."""
    held_out: HeldOutPlan | None = None

    def order(self, source: int) -> Sampler:
        """In which order the rows of one source are seen."""
        rows, lanes = self.sources[source], self.training.lanes
        chunks = cut_chunks(rows.groups, lanes, rows.fitting(self.most_chunk_rows, lanes))
        return Sampler(chunks, lanes, self.lane_rows[source], self.seed, rows.block_rows)


def plan_fit(workspace: Workspace, name: str) -> TrainingPlan | ModelRecord:
    """The training of `fit.<name>`, or its record where it is done."""
    fit: Fit = workspace.tables.fit[name]
    folder = fit_folder(workspace, name)
    done = read_record(folder)
    if done is not None:
        return done
    outputs = workspace.tables.pool_outputs(fit.on)
    student = fit_student(fit, usual_loss(outputs))
    pins = {f"pools.{fit.on}": workspace.pool(fit.on).inventory.content}
    asked = _Asked(
        f"fit.{name}",
        Variant(name, student),
        folder,
        {MAIN: outputs},
        workspace.tables.fit_code(name),
    )
    return _lesson(workspace, asked, pins)


def plan_student(workspace: Workspace, variant: Variant) -> TrainingPlan | ModelRecord:
    """The training of a student, or its record where it is done. Raises ContractError where labels
    are missing or mean something else."""
    pins = student_pins(workspace, variant.spec)
    folder = student_folder(workspace, variant, pins)
    done = read_record(folder)
    if done is not None:
        return done
    heads = {
        head: workspace.tables.head_outputs(variant.spec, head) for head in variant.spec.head_names
    }
    where = f"students.{variant.student}"
    return _lesson(
        workspace,
        _Asked(where, variant, folder, heads, workspace.tables.student_code(variant.spec, where)),
        pins,
    )


@dataclass(frozen=True)
class _Asked:
    """What is to be trained: a student's, or a fit's as if it were one."""

    key: str
    variant: Variant
    folder: Storage
    heads: Mapping[str, Outputs]
    code: Code


def _lesson(workspace: Workspace, asked: _Asked, pins: Mapping[str, str]) -> TrainingPlan:
    variant, heads, student = asked.variant, asked.heads, asked.variant.spec
    require_one_width(workspace, student.pools, asked.key)
    sources, where = plan_datasets(workspace, student)
    widths = head_widths(workspace, student, asked.key)
    own = {head: student.heads[head].model if head in student.heads else None for head in heads}
    planned = {head: HeadPlan(widths[head], own[head]) for head in heads}
    plan = NetworkPlan(sources[0].width, student.model, planned, asked.code)
    check_network(plan, f"{workspace.tables.path}: {asked.key}")
    check_custom_losses(workspace, student, asked.key)
    terms = tuple(
        _projected(
            workspace,
            student,
            term,
            _term(workspace, term, number, where[pools_of(student, term)], heads[term.head]),
            widths,
        )
        for number, term in enumerate(student.terms)
    )
    said: dict[str, object] = {
        "student": variant.student,
        "changes": dict(variant.changes),
        "terms": [f"{term.weight:g} · {term.said}" for term in terms],
    }
    held_out = _held_out(workspace, student, heads)
    if held_out is not None and student.early_stop is not None:
        said["early_stop"] = {
            "measure": held_out.term.said,
            "pins": held_out_pins(workspace, student.early_stop),
        }
    seed = student.seed if student.seed is not None else workspace.tables.seed
    return TrainingPlan(
        variant.name,
        asked.folder.uri,
        plan,
        heads,
        terms,
        sources,
        student.training,
        seed,
        pins,
        workspace.tables.fragment_rows,
        said,
        lane_rows=tuple(student.lane_rows(pools) for pools in where),
        held_out=held_out,
    )


def _held_out(
    workspace: Workspace, student: Student, heads: Mapping[str, Outputs]
) -> HeldOutPlan | None:
    """What says when to stop."""
    stop = student.early_stop
    if stop is None:
        return None
    term, pool = workspace.tables.held_out_term(stop), workspace.pool(str(stop.rows))
    plan = _term(workspace, term, 0, 0, heads[stop.head])
    return HeldOutPlan(source_of(workspace, student, [pool], {plan.column: term}), plan, stop)


def _term(workspace: Workspace, term: Term, number: int, source: int, head: Outputs) -> TermPlan:
    classes = workspace.tables.term_outputs(term).classes
    positions = None if classes == head.classes else tuple(head.positions[name] for name in classes)
    own = None
    if isinstance(term.loss, CustomLoss):
        own = CustomLossCall(
            workspace.tables.custom_source(term.loss, f"terms.{number}.loss"),
            term.loss.name,
            said_of(term),
        )
    return TermPlan(
        said=said_of(term),
        column=str(number),
        source=source,
        head=term.head,
        loss=term.loss,
        weight=term.weight,
        target=term.pool is not None,
        positions=positions,
        own=own,
        ramp=term.ramp,
        row_weight=term.row_weight,
    )


def _projected(
    workspace: Workspace, student: Student, term: Term, plan: TermPlan, widths: Mapping[str, int]
) -> TermPlan:
    """The term with its projection, where its source has another width than its head."""
    head = student.heads.get(term.head)
    if head is None or head.width is None:
        return plan
    width, own = term_width(workspace, term), widths[term.head]
    return (
        plan
        if width == own
        else replace(plan, projected=width, said=f"{plan.said}, projected from {own} to {width}")
    )


def said_of(term: Term) -> str:
    """A term in words."""
    temperature = getattr(term.loss, "temperature", 1.0)
    at = f" at T={temperature:g}" if temperature != 1.0 else ""
    moving = f", from weight {term.ramp.begin:g}" if term.ramp else ""
    weighted = (
        f", rows weighted by {term.row_weight.kind.replace('_', ' ')}" if term.row_weight else ""
    )
    return f"{term.loss.kind.replace('_', ' ')}{at} to {term.learns}{moving}{weighted}"
