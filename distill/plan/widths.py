"""How many numbers a row of values has, as the job and its pools tell it: before any labels are
paid for, and the same afterwards.

A pool's is kept under the root once it was read, so that a finished job opens no input for it.
"""

from __future__ import annotations

from distill.core.errors import ContractError
from distill.plan.workspace import Workspace
from distill.spec.labels import Fitted
from distill.spec.students import Student, Term


def head_widths(workspace: Workspace, student: Student, where: str) -> dict[str, int]:
    """Numbers that each head answers with; `where` is the student's key. Raises ContractError where
    what it learns, or stops by, is of other widths."""
    widths = {head: _head_width(workspace, student, head, where) for head in student.head_names}
    stop = student.early_stop
    if stop is None or workspace.tables.head_outputs(student, stop.head).classes:
        return widths
    width = term_width(workspace, workspace.tables.held_out_term(stop))
    if width != widths[stop.head]:
        raise ContractError(
            f"{workspace.tables.path}: {where}.early_stop: {stop.learns} has {width} numbers a row, but head"
            f" {stop.head!r} answers with {widths[stop.head]}. Measure it by another."
        )
    return widths


def _head_width(workspace: Workspace, student: Student, head: str, where: str) -> int:
    outputs = workspace.tables.head_outputs(student, head)
    if outputs.classes:
        return len(outputs.classes)
    if head in student.heads and student.heads[head].width is not None:
        return int(student.heads[head].width or 0)
    widths = {term.learns: term_width(workspace, term) for term in student.terms_of(head)}
    if len(set(widths.values())) != 1:
        raise ContractError(
            f"{workspace.tables.path}: {where}: head {head!r}: its terms teach values of different widths,"
            f" {widths}. Give each a head of its own, or give this one a `width`: a term of another"
            " width is then learned through a projection."
        )
    return next(iter(widths.values()))


def term_width(workspace: Workspace, term: Term) -> int:
    """Numbers a row of what a term learns from: one a class, or as many as its values have. Raises
    PoolError."""
    classes = workspace.tables.term_outputs(term).classes
    if classes:
        return len(classes)
    if term.label_set is None:
        return _target_width(workspace, str(term.pool))
    where, first = next(workspace.tables.labels[term.label_set].members(term.label_set))
    return (
        _target_width(workspace, workspace.tables.fit[first.fit].on)
        if isinstance(first, Fitted)
        else workspace.tables.labeler_width(first, where)
    )


def _target_width(workspace: Workspace, pool: str) -> int:
    opened = workspace.pool(pool)
    told = [
        "target width",
        opened.inventory.content,
        opened.spec.model_dump(mode="json", include={"target", "format"}),
    ]
    return int(
        workspace.remember(
            "checks", told, lambda: opened.target_width(workspace.tables.pool_outputs(pool))
        )
    )
