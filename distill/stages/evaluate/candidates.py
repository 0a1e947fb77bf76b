"""Who is judged: every label set over the test pool, and every head of every student but hints
(heads with a width of their own), with what pins each of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distill.job.job import Job
from distill.job.sweep import Variant
from distill.labelers.base import Recipe
from distill.labels.contract import Contract
from distill.loader.dataset import LabelColumn
from distill.models.custom_source import Code
from distill.models.record import ModelRecord
from distill.plan.code import student_code
from distill.plan.identity import find_student, whole_labels
from distill.plan.labelers import prepare_labels
from distill.plan.outputs import label_outputs
from distill.pools.open_pool import OpenPool
from distill.spec.students import Student
from distill.stages.evaluate.evaluator import Method

log = logging.getLogger(__name__)

_TOLD = ("hints", "told")


@dataclass(frozen=True)
class Candidate:
    """One method, and what a person wants to know beside its measures."""

    method: Method
    name: str
    role: str
    """`teacher`, `labeler` or `student`."""
    pin: str
    """Digest of what answers."""
    width: int
    """Numbers in a row of its answers."""
    recipe: Recipe
    """How to ask it now, to time it."""
    column: LabelColumn | None = None
    student: str = ""
    """The variant's name; empty for a label set."""
    group: str = ""
    """Students that differ by their seed alone share it."""
    taught_by: Sequence[str] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    history: Sequence[Mapping[str, Any]] = ()


def find_candidates(job: Job, pool: OpenPool) -> list[Candidate]:
    """All of a job. Raises ContractError where a student is not trained, or labels are missing or
    mean something else."""
    over = [name for name, labels in job.labels.items() if pool.name in labels.over]
    sets = [
        _label_set(job, name, pool, teacher=name == teacher_of(job, pool.name)) for name in over
    ]
    students = [candidate for variant in job.variants for candidate in _students(job, variant)]
    _tell_hints(job)
    return sets + students


def _tell_hints(job: Job) -> None:
    """Say which heads nobody judges: once a run, and once a student whatever its variants."""
    hints = {
        f"students.{variant.student}.heads.{head}": None
        for variant in job.variants
        for head in variant.spec.head_names
        if head not in variant.spec.judged_heads
    }
    if hints and _TOLD not in job.memo:
        job.memo[_TOLD] = True
        log.info(
            "%s: a width of its own makes a head a hint, which is not judged", ", ".join(hints)
        )


def teacher_of(job: Job, pool: str) -> str | None:
    """The label set that agreement is measured against: the job's word, or its first one over the
    test pool."""
    named = job.evaluate.teacher if job.evaluate else None
    return named or next((name for name, labels in job.labels.items() if pool in labels.over), None)


def _label_set(job: Job, name: str, pool: OpenPool, *, teacher: bool) -> Candidate:
    recipe, contract = prepare_labels(job, name)
    labels = whole_labels(job, name, pool, contract)
    return Candidate(
        method=Method(f"labels.{name}", label_outputs(job, name)),
        name=name,
        role="teacher" if teacher else "labeler",
        pin=f"{contract.digest} {labels.label_hash}",
        width=contract.width,
        recipe=recipe,
        column=LabelColumn(contract, (labels,), _judged_at(contract)),
        group=name,
        taught_by=tuple(recipe.record.taught_by) if recipe.record else (),
        parameters=recipe.record.parameters if recipe.record else None,
        history=_history(recipe.record),
    )


def _judged_at(contract: Contract) -> float | None:
    return 1.0 if contract.kind == "logits" else None


def _students(job: Job, variant: Variant) -> list[Candidate]:
    folder, record = find_student(job, variant)
    code, judged = (
        student_code(job, variant.spec, f"students.{variant.student}"),
        variant.spec.judged_heads,
    )
    return [_head(variant, folder.uri, record, head, code) for head in judged]


def _head(variant: Variant, folder: str, record: ModelRecord, head: str, code: Code) -> Candidate:
    suffix = "" if len(variant.spec.judged_heads) == 1 else f" · {head}"
    kept = {path: value for path, value in variant.changes.items() if path != "seed"}
    group = Variant(variant.student, variant.spec, kept).name + suffix
    return Candidate(
        method=Method(
            f"students.{variant.name}.{head}", record.heads[head], folder, record, head, code
        ),
        name=variant.name + suffix,
        role="student",
        pin=f"{record.digest} {record.sha256}",
        width=record.widths[head],
        recipe=Recipe(form="network", folder=folder, record=record, code=code),
        student=variant.name,
        group=group,
        taught_by=_taught_by(variant.spec, record, head),
        changes=variant.changes,
        parameters=record.head_parameters.get(head, record.parameters),
        history=_history(record),
    )


def _taught_by(student: Student, record: ModelRecord, head: str) -> tuple[str, ...]:
    """The terms of a head; of one on the trunk, those of hints on it too, since they teach it and
    are told nowhere else."""
    on_trunk = {
        name
        for name in student.head_names
        if name not in student.heads or student.heads[name].model is None
    }
    hints = on_trunk.difference(student.judged_heads) if head in on_trunk else set()
    told = zip(record.details["terms"], student.terms, strict=True)
    return tuple(said for said, term in told if term.head == head or term.head in hints)


def _history(record: ModelRecord | None) -> Sequence[Mapping[str, Any]]:
    return tuple(record.details.get("history", ())) if record else ()
