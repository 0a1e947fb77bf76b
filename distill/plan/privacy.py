"""What is promised about the private rows behind a student.

A student of noisy labels, or of a privately trained teacher, promises what those promise: whatever
is made of a private answer is as private (post-processing). But only where nothing else it learns
from has seen the same rows without noise. So a statement over a pool is dropped where any other way
leads from that pool to the student.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from distill.core.privacy import PrivacyStatement
from distill.models.record import ModelRecord
from distill.plan.identity import find_fit, find_student
from distill.plan.tables import JobTables
from distill.plan.votes import votes_statement
from distill.plan.workspace import Workspace
from distill.spec.labels import Fitted, Labels, Structured
from distill.spec.pate import Pate
from distill.spec.students import ClusterBalance, Student

PRIVACY = "privacy"
"""Key of a record's details that has the statements."""


def inherited_statements(workspace: Workspace, student: Student) -> list[PrivacyStatement]:
    """Return what a student's label sets promise and nothing else of it breaks. Raises
    StorageError, ContractError where a label set is missing."""
    tables = workspace.tables
    bare = set(bare_pools(tables, student))
    found: list[PrivacyStatement] = []
    for name in _label_sets(student):
        for statement in _of_labels(workspace, name):
            pools = {tables.base_pool(pool) for pool in statement.over}
            if pools.isdisjoint(bare) and statement not in found:
                found.append(statement)
    return found


def stored_statements(record: ModelRecord) -> list[PrivacyStatement]:
    """Return what the record of a model says that it promises."""
    return [PrivacyStatement.from_json(each) for each in record.details.get(PRIVACY, ())]


def promises(workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    """Return what each student promises, as JSON; nothing where none promises anything. Raises
    ContractError where one is not trained."""
    found = {}
    for variant in workspace.tables.job.variants:
        _, record = find_student(workspace, variant)
        found[variant.name] = [each.as_json() for each in stored_statements(record)]
    return found if any(found.values()) else {}


def _label_sets(student: Student) -> list[str]:
    """All label sets that say anything to a student."""
    names = [term.label_set for term in student.terms if term.label_set]
    if student.features is not None:
        names.append(student.features.label_set)
    names += [
        term.row_weight.labels
        for term in student.terms
        if isinstance(term.row_weight, ClusterBalance)
    ]
    stop = student.early_stop
    if stop is not None and stop.label_set:
        names.append(stop.label_set)
    return list(dict.fromkeys(names))


def _of_labels(workspace: Workspace, name: str) -> Iterator[PrivacyStatement]:
    votes = votes_statement(workspace, name)
    if votes is not None:
        yield votes
    for _, labeler in workspace.tables.labels[name].members(name):
        if isinstance(labeler, Fitted) and not isinstance(labeler, Pate):
            _, record = find_fit(workspace, labeler.fit)
            yield from stored_statements(record)


def bare_pools(tables: JobTables, student: Student) -> Iterator[str]:
    """Yield the pools whose rows reach a student without noise, of selections those that they are
    of."""
    names: list[str] = []
    if student.training.private is None:
        names += [term.pool for term in student.terms if term.pool]
    if student.early_stop is not None and student.early_stop.pool:
        names.append(student.early_stop.pool)
    for label_set in _label_sets(student):
        names += _seen_without_noise(tables, tables.labels[label_set], label_set)
    for name in names:
        yield tables.base_pool(name)


def _seen_without_noise(tables: JobTables, labels: Labels, name: str) -> Sequence[str]:
    found = []
    if labels.calibrate_on is not None:
        found.append(labels.calibrate_on)
    for _, labeler in labels.members(name):
        if isinstance(labeler, Structured):
            pool = tables.structure_source(labeler.structure).pool
            found += [] if pool is None else [pool]
        if not isinstance(labeler, Fitted) or isinstance(labeler, Pate):
            continue
        fit = tables.fit[labeler.fit]
        is_noisy = getattr(getattr(fit, "training", None), "private", None) is not None
        found += [] if is_noisy else [fit.on]
        if fit.early_stop is not None and fit.early_stop.pool:
            found.append(fit.early_stop.pool)
    return found
