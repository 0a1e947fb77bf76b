"""Who is judged: every label set over the test pool, and every head of every student but hints
(heads with a width of their own), with what pins each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from distill.job.sweep import Variant
from distill.labelers.recipe import Recipe
from distill.loader.dataset import LabelColumn
from distill.models.custom_source import Code
from distill.models.record import ModelRecord
from distill.plan.identity import find_student
from distill.plan.judged import judged_heads, judged_labels
from distill.plan.label_values import label_values
from distill.plan.labelers import prepare_labels
from distill.plan.tables import JobTables
from distill.plan.workspace import Workspace
from distill.pools.open_pool import OpenPool
from distill.spec.outputs import Outputs
from distill.spec.students import Student


@dataclass(frozen=True)
class Method:
    """Something that is judged: a label set, stored over the test pool, or a head of a student."""

    key: str
    outputs: Outputs
    folder: str = ""
    record: ModelRecord | None = None
    head: str = ""
    # sources of what the user wrote of the student's network
    code: Code = field(default_factory=dict)
    # the column of the dataset that it sees in place of the pool's features, if it does
    features: str = ""


@dataclass(frozen=True)
class Candidate:
    """One method, and what a person wants to know beside its measures."""

    method: Method
    name: str
    role: str  # `teacher`, `labeler` or `student`
    pin: str  # digest of what answers
    width: int  # numbers in a row of its answers
    recipe: Recipe  # how to ask it now, to time it
    column: LabelColumn | None = None
    # labels that it sees in place of the pool's features: the column `method.features`
    seen: LabelColumn | None = None
    student: str = ""  # the variant's name; empty for a label set
    group: str = ""  # students that differ by their seed alone share it
    taught_by: Sequence[str] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    history: Sequence[Mapping[str, Any]] = ()


def find_candidates(workspace: Workspace, pool: OpenPool) -> list[Candidate]:
    """Find all of a job. Raises ContractError where a student is not trained, or labels are missing
    or mean something else."""
    teacher = teacher_of(workspace, pool.name)
    judged = judged_labels(workspace.tables, pool.name)
    found = [_label_set(workspace, name, pool, teacher=name == teacher) for name in judged]
    for variant in workspace.tables.job.variants:
        found.extend(_heads(workspace, variant, pool))
    return found


def powered_candidates(workspace: Workspace, teacher: str, pool: OpenPool) -> list[Candidate]:
    """Find the teacher and all students over another pool. Raises as `find_candidates`."""
    found = [_label_set(workspace, teacher, pool, teacher=True)]
    for variant in workspace.tables.job.variants:
        found.extend(_heads(workspace, variant, pool))
    return found


def hints(workspace: Workspace) -> list[str]:
    """Name the heads that nobody judges, once a student whatever its variants."""
    found = [
        f"students.{variant.student}.heads.{head}"
        for variant in workspace.tables.job.variants
        for head in variant.spec.head_names
        if head not in judged_heads(workspace.tables, variant.spec)
    ]
    distinct = dict.fromkeys(found)
    return list(distinct)


def teacher_of(workspace: Workspace, pool: str) -> str | None:
    """Name the label set that agreement is measured against: the job's word, or its first one over
    the test pool."""
    return first_teacher(workspace.tables, pool)


def first_teacher(tables: JobTables, pool: str) -> str | None:
    """Name it by the job file alone."""
    evaluate = tables.evaluate
    if evaluate and evaluate.teacher:
        return evaluate.teacher
    former = evaluate.former if evaluate else None
    judged = [name for name in judged_labels(tables, pool) if name != former]
    return judged[0] if judged else None


def _label_set(workspace: Workspace, name: str, pool: OpenPool, *, teacher: bool) -> Candidate:
    recipe, contract = prepare_labels(workspace, name)
    labels = workspace.whole_labels(name, pool, contract)
    record = recipe.record
    tables = workspace.tables
    outputs = tables.label_outputs(name)
    are_logits = contract.kind == "logits"
    judged_at = 1.0 if are_logits else None
    candidate = Candidate(
        method=Method(f"labels.{name}", outputs),
        name=name,
        role="teacher" if teacher else "labeler",
        pin=f"{contract.digest} {labels.label_hash}",
        width=contract.width,
        recipe=recipe,
        column=LabelColumn(contract, (labels,), judged_at),
        group=name,
        taught_by=tuple(record.taught_by) if record else (),
        parameters=record.parameters if record else None,
        history=_history(record),
    )
    return _seeing(workspace, candidate, tables.values_of(name), pool)


def _heads(workspace: Workspace, variant: Variant, pool: OpenPool) -> list[Candidate]:
    folder, record = find_student(workspace, variant)
    code = workspace.tables.student_code(variant.spec, f"students.{variant.student}")
    recipe = Recipe(form="network", folder=folder.uri, record=record, code=code)
    judged = judged_heads(workspace.tables, variant.spec)
    heads = [_head(variant, recipe, record, head, judged) for head in judged]
    features = variant.spec.features
    values_of = features.label_set if features else None
    return [_seeing(workspace, candidate, values_of, pool) for candidate in heads]


def _seeing(
    workspace: Workspace, candidate: Candidate, values_of: str | None, pool: OpenPool
) -> Candidate:
    """The candidate, which sees the values of `labels.<values_of>` in place of features."""
    if values_of is None:
        return candidate
    values = label_values(workspace, values_of, (pool.name,))
    seen = LabelColumn(values.contract, values.sets, None)
    method = replace(candidate.method, features=f"features labels.{values_of}")
    pin = f"{candidate.pin} {seen.sets[0].label_hash}"
    return replace(candidate, method=method, pin=pin, seen=seen)


def _head(
    variant: Variant, recipe: Recipe, record: ModelRecord, head: str, judged: Sequence[str]
) -> Candidate:
    one_head = len(judged) == 1
    suffix = "" if one_head else f" · {head}"
    changes = {path: value for path, value in variant.changes.items() if path != "seed"}
    group = Variant(variant.student, variant.spec, changes).name
    key = f"students.{variant.name}.{head}"
    method = Method(key, record.heads[head], recipe.folder, record, head, recipe.code)
    return Candidate(
        method=method,
        name=variant.name + suffix,
        role="student",
        pin=f"{record.digest} {record.sha256}",
        width=record.widths[head],
        recipe=recipe,
        student=variant.name,
        group=group + suffix,
        taught_by=_taught_by(variant.spec, record, head, judged),
        changes=variant.changes,
        parameters=record.head_parameters.get(head, record.parameters),
        history=_history(record),
    )


def _taught_by(
    student: Student, record: ModelRecord, head: str, judged: Sequence[str]
) -> tuple[str, ...]:
    """The terms of a head; of one on the trunk, those of hints on it too."""
    # hints teach the trunk, and stand in no other candidate's terms
    own_network = {name for name, head in student.heads.items() if head.model is not None}
    head_names = set(student.head_names)
    on_trunk = head_names - own_network
    counted = {head}
    if head in on_trunk:
        counted |= on_trunk.difference(judged)
    terms = zip(record.details["terms"], student.terms, strict=True)
    return tuple(text for text, term in terms if term.head in counted)


def _history(record: ModelRecord | None) -> Sequence[Mapping[str, Any]]:
    if record is None:
        return ()
    return tuple(record.details.get("history", ()))
