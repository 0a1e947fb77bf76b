"""What is promised about the private rows behind a student.

A student of noisy labels, or of a privately trained teacher, promises what those promise: whatever
is made of a private answer is as private (post-processing). But only where nothing else it learns
from has seen the same rows without noise. So a statement over a pool is dropped where any other way
leads from that pool to the student.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from distill.core.privacy import PrivacyStatement, with_totals
from distill.models.record import ModelRecord
from distill.plan.identity import find_fit, find_student
from distill.plan.order import all_needed
from distill.plan.tables import JobTables
from distill.plan.votes import votes_statement
from distill.plan.workspace import Workspace
from distill.spec.labels import Fitted
from distill.spec.models import Fit
from distill.spec.pate import Pate
from distill.spec.students import ClusterBalance, Student

PRIVACY = "privacy"  # key of a record's details that has the statements


def inherited_statements(workspace: Workspace, student: Student) -> list[PrivacyStatement]:
    """Return what a student's label sets promise and nothing else of it breaks, once for each
    mechanism that ran: two fits may promise the same in the same words, and cost twice. Raises
    StorageError, ContractError where a label set is missing."""
    tables = workspace.tables
    bare = bare_pools(tables, student)
    found: dict[tuple[object, ...], PrivacyStatement] = {}
    for key in sorted(_needed(tables, student)):
        kind, _, name = key.partition(".")
        if kind != "labels":
            continue
        for source, statement in _of_labels(workspace, name):
            pools = {tables.base_pool(pool) for pool in statement.over}
            before = found.get(source)
            # of votes of the same teachers the larger one has the others in it
            is_less = before is not None and before.epsilon >= statement.epsilon
            if pools.isdisjoint(bare) and not is_less:
                found[source] = statement
    return list(found.values())


def stored_statements(record: ModelRecord) -> list[PrivacyStatement]:
    """Return what the record of a model says that it promises."""
    return [PrivacyStatement.from_json(each) for each in record.details.get(PRIVACY, ())]


def promises(workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    """Return what each student promises, as JSON; nothing where none promises anything. Raises
    ContractError where one is not trained."""
    found = {}
    for variant in workspace.tables.job.variants:
        _, record = find_student(workspace, variant)
        stored = stored_statements(record)
        statements = with_totals(stored)
        found[variant.name] = [each.as_json() for each in statements]
    return found if any(found.values()) else {}


def bare_pools(tables: JobTables, student: Student) -> set[str]:
    """Return the pools whose rows reach a student without noise by any way, of selections those
    that they are of."""
    names = []
    if student.training.private is None:
        names += [term.pool for term in student.terms]
    stop = student.early_stop
    if stop is not None:
        names.append(stop.pool)
    for key in _needed(tables, student):
        kind, _, name = key.partition(".")
        if kind == "fit":
            fit = tables.fit[name]
            names += _bare_pools_of_fit(fit)
        elif kind == "structure":
            structure = tables.structure[name]
            names.append(structure.pool)
        elif kind == "select":
            selection = tables.select[name]
            names.append(selection.pool)
        elif kind == "labels":
            labels = tables.labels[name]
            names.append(labels.calibrate_on)
    return {tables.base_pool(name) for name in names if name is not None}


def _bare_pools_of_fit(fit: Fit) -> list[str | None]:
    stop = None if fit.early_stop is None else fit.early_stop.pool
    # a job with both is refused wherever votes would be counted otherwise than under noise
    is_noisy = fit.teachers is not None or fit.training.private is not None
    return [stop] if is_noisy else [stop, fit.on]


def _needed(tables: JobTables, student: Student) -> set[str]:
    """Keys of all that says anything to a student beside the pools that it sees: its label sets,
    and what they stand on."""
    sets = [f"labels.{name}" for name in _label_sets(student)]
    return all_needed(tables, sets, to_label=False)


def _label_sets(student: Student) -> list[str]:
    """The label sets that a student itself names."""
    names = [term.label_set for term in student.terms if term.label_set]
    seen = student.features
    if seen is not None:
        names.append(seen.label_set)
    terms = student.terms
    names += [
        term.row_weight.labels for term in terms if isinstance(term.row_weight, ClusterBalance)
    ]
    stop = student.early_stop
    if stop is not None and stop.label_set:
        names.append(stop.label_set)
    return names


def _of_labels(
    workspace: Workspace, name: str
) -> Iterator[tuple[tuple[object, ...], PrivacyStatement]]:
    """What a label set promises, each with the mechanism that ran."""
    votes = votes_statement(workspace, name)
    if votes is not None:
        label_tables = workspace.tables.labels
        labeler = label_tables[name].labeler
        assert isinstance(labeler, Pate)
        # what depends on private votes stays with the teachers
        yield (labeler.fit, votes.delta), replace(votes, data_dependent_epsilon=None)
    for _, labeler in workspace.tables.labels[name].members(name):
        if isinstance(labeler, Fitted) and not isinstance(labeler, Pate):
            _, record = find_fit(workspace, labeler.fit)
            for number, statement in enumerate(stored_statements(record)):
                key = (labeler.fit, number)
                yield key, statement
