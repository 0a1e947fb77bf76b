"""Who is audited, and how each is asked: networks of fits and students about rows, label sets by
what they have stored of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from distill.core.privacy import PrivacyStatement, with_totals
from distill.loader.dataset import LabelColumn
from distill.models.record import ModelRecord
from distill.plan.candidates import Method
from distill.plan.identity import find_fit, find_student
from distill.plan.judged import judged_heads
from distill.plan.labelers import prepare_labels
from distill.plan.order import all_needed, pool_key
from distill.plan.tables import JobTables
from distill.plan.votes import votes_statement
from distill.plan.workspace import Workspace
from distill.spec.audit import Audit
from distill.spec.labels import Ensemble, Fitted, LabelerTable, TopK
from distill.spec.models import Eszsl
from distill.spec.pate import Pate
from distill.spec.students import MAIN

PRIVACY = "privacy"
"""Key of the `PrivacyStatement`s in a record's details."""


@dataclass(frozen=True)
class Subject:
    """One thing that is asked about rows."""

    at: str
    """Its key in the job file: `fit.NAME`, `labels.NAME`, `students.NAME`."""
    name: str
    """For people: of a student the variant, and the head where it has several."""
    method: Method
    pin: str
    """Digest of what answers."""
    columns: Mapping[str, LabelColumn] = field(default_factory=dict)
    """Of a label set: what is stored over each pool, by the pool's name."""
    statement: Mapping[str, Any] | None = None
    """What it promises of private rows, as `core.privacy.PrivacyStatement` has it."""


def audited_keys(tables: JobTables, audit: Audit) -> list[str]:
    """Return the keys of what is audited: those named, or all that can be."""
    if audit.of:
        return list(audit.of)
    fits = [f"fit.{name}" for name in tables.fit]
    labels = [f"labels.{name}" for name in tables.labels]
    students = [f"students.{name}" for name in tables.students]
    keys = [*fits, *labels, *students]
    return [key for key in keys if not any(why_not_audited(tables, audit, key))]


def why_not_audited(tables: JobTables, audit: Audit, key: str) -> Iterator[str]:
    """Yield what keeps the thing of a key from being audited, in words that follow the key."""
    if not is_taught(tables, audit, key):
        yield f"nothing of pools.{audit.members} taught it. Take it out of audit.of."
        return
    kind, _, name = key.partition(".")
    if kind == "fit":
        yield from _why_no_fit(tables, name)
    elif kind == "labels":
        yield from _why_no_labels(tables, audit, name)
    elif kind == "students":
        yield from _why_no_student(tables, audit, name)


def _why_no_fit(tables: JobTables, name: str) -> Iterator[str]:
    fit = tables.fit[name]
    if isinstance(fit.model, Eszsl):
        yield "is fitted by passes, and audited are networks. Audit the label set that it writes."
    elif fit.teachers is not None:
        yield "is many networks, whose votes are private. Audit a student of their noisy votes."
    elif fit.features is not None:
        yield "sees stored labels in place of features. Audit what it labels over both pools."


def _why_no_labels(tables: JobTables, audit: Audit, name: str) -> Iterator[str]:
    labels = tables.labels[name]
    missing = {audit.members, audit.others}.difference(labels.over)
    if missing:
        named = " and ".join(map(repr, sorted(missing)))
        yield f"is not over the rows that are tried. Add {named} to labels.{name}.over."
        return
    outputs = tables.label_outputs(name)
    if not outputs.is_like(tables.pool_outputs(audit.members)):
        yield f"says {outputs.in_words}, which the target of pools.{audit.members} is not."
    if isinstance(labels.encoding, TopK) and 1.0 not in labels.encoding.temperatures:
        yield f"is read at temperature 1. Add 1 to labels.{name}.encoding.temperatures."


def _why_no_student(tables: JobTables, audit: Audit, name: str) -> Iterator[str]:
    student = tables.students[name]
    if student.features is not None:
        yield "sees stored labels in place of features, and those are not over the tried rows."
        return
    truth = tables.pool_outputs(audit.members)
    heads = judged_heads(tables, student)
    if not any(tables.head_outputs(student, head).is_like(truth) for head in heads):
        yield f"has no head that says what the target of pools.{audit.members} is."


def why_without_shadows(tables: JobTables, audit: Audit, key: str) -> str:
    """Return why shadow models cannot be taught for the thing of a key; "" where they can."""
    for needed in sorted(dependent_keys(tables, audit, [key])):
        kind, _, name = needed.partition(".")
        if kind == "fit" and tables.fit[name].features is not None:
            return f"{needed} sees stored labels, which are not made anew for shadows"
        if kind in ("structure", "select"):
            return f"{needed} comes of pools.{audit.members} and is not made anew for shadows"
        if kind == "labels" and not _is_by_fits(tables.labels[name].labeler):
            return f"{needed} is not by networks of fits, and is not made anew for shadows"
        if kind == "students" and audit.members in tables.students[name].on:
            labels = {term.learns for term in tables.students[name].terms if term.label_set}
            bought = sorted(each for each in labels if not is_taught(tables, audit, each))
            if bought:
                return f"{bought[0]} over pools.{audit.members} would be bought anew for shadows"
    return ""


def _is_by_fits(labeler: LabelerTable) -> bool:
    # votes are a fit's too, and each one that is cast for an audit would be paid for in privacy
    return isinstance(labeler, Fitted | Ensemble) and not isinstance(labeler, Pate)


def is_taught(tables: JobTables, audit: Audit, key: str) -> bool:
    """Whether rows of the members taught the thing of a key."""
    return pool_key(audit.members) in all_needed(tables, [key], to_label=False)


def dependent_keys(tables: JobTables, audit: Audit, keys: Sequence[str]) -> set[str]:
    """Return those of some things, and of all that they need, that the members taught."""
    needed = all_needed(tables, keys)
    return {key for key in needed if is_taught(tables, audit, key)}


def subjects(
    workspace: Workspace, audit: Audit, key: str, pools: Sequence[str]
) -> Iterator[Subject]:
    """Yield how the thing of a key is asked: a label set by what it has over `pools`, a student by
    each head that says what the target is. Raises ContractError where it is not there."""
    kind, _, name = key.partition(".")
    if kind == "fit":
        yield _fit(workspace, audit, name)
    elif kind == "labels":
        yield _labels(workspace, audit, name, pools)
    else:
        yield from _students(workspace, audit, name)


def _fit(workspace: Workspace, audit: Audit, name: str) -> Subject:
    folder, record = find_fit(workspace, name)
    code = workspace.tables.fit_code(name)
    outputs = workspace.tables.fit_outputs(name)
    method = Method(f"fit.{name}", outputs, folder.uri, record, MAIN, code)
    return Subject(
        method.key,
        method.key,
        method,
        record.sha256,
        statement=_statement(workspace, record, audit),
    )


def _labels(workspace: Workspace, audit: Audit, name: str, pools: Sequence[str]) -> Subject:
    recipe, contract = prepare_labels(workspace, name)
    columns = {}
    judged_at = 1.0 if contract.kind == "logits" else None
    for pool in pools:
        labels = workspace.whole_labels(name, workspace.pool(pool), contract)
        columns[pool] = LabelColumn(contract, (labels,), judged_at)
    pin = " ".join(each.sets[0].label_hash for each in columns.values())
    method = Method(f"labels.{name}", workspace.tables.label_outputs(name))
    votes = votes_statement(workspace, name)
    statement = _statement(workspace, recipe.record, audit)
    if votes is not None:
        # what depends on private votes stays with the teachers
        statement = replace(votes, data_dependent_epsilon=None).as_json()
    return Subject(method.key, method.key, method, pin, columns, statement)


def _students(workspace: Workspace, audit: Audit, name: str) -> Iterator[Subject]:
    tables = workspace.tables
    truth = tables.pool_outputs(audit.members)
    for variant in tables.job.chosen_variants([name]):
        folder, record = find_student(workspace, variant)
        code = tables.student_code(variant.spec, f"students.{name}")
        heads = judged_heads(tables, variant.spec)
        like = [head for head in heads if record.heads[head].is_like(truth)]
        for head in like:
            suffix = f".{head}" if len(like) > 1 else ""
            # as the evaluation knows it, so that a gate of both speaks of the same
            key = f"students.{variant.name}.{head}"
            method = Method(key, record.heads[head], folder.uri, record, head, code)
            shown = f"students.{variant.name}{suffix}"
            statement = _statement(workspace, record, audit)
            yield Subject(f"students.{name}", shown, method, record.sha256, statement=statement)


def _statement(
    workspace: Workspace, record: ModelRecord | None, audit: Audit
) -> Mapping[str, Any] | None:
    """The statement in a record that is about the members, if one is."""
    stored = () if record is None else record.details.get(PRIVACY, ())
    statements = with_totals([PrivacyStatement.from_json(each) for each in stored])
    # the last one is of all mechanisms together, where there are several
    members = workspace.tables.base_pool(audit.members)
    about = [each.as_json() for each in statements if members in each.over]
    return about[-1] if about else None
