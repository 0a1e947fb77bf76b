"""How many numbers a row of values has, as the job and its pools tell it: before any labels are
paid for, and the same afterwards.

A pool's is kept under the root once it was read, so that a finished job opens no input for it.
"""

from __future__ import annotations

from collections.abc import Mapping

from distill.core.errors import ContractError
from distill.plan.workspace import Workspace
from distill.pools.formats.options import with_mask
from distill.spec.labels import Fitted
from distill.spec.students import Student, Term


def head_widths(workspace: Workspace, student: Student, where: str) -> dict[str, int]:
    """Return the numbers a row of each head; `where` is the student's key. Raises ContractError
    where what it learns, or stops by, is of other widths."""
    widths = {head: _head_width(workspace, student, head, where) for head in student.head_names}
    stop = student.early_stop
    if stop is None or workspace.tables.head_outputs(student, stop.head).classes:
        return widths
    head_width = widths[stop.head]
    tables = workspace.tables
    held_out = tables.held_out_term(stop)
    width = term_width(workspace, held_out)
    if width != head_width:
        raise ContractError(
            f"{tables.path}: {where}.early_stop: {stop.learns} has {width} numbers a row,"
            f" but head {stop.head!r} answers with {head_width}. Measure it by another."
        )
    return widths


def _head_width(workspace: Workspace, student: Student, head: str, where: str) -> int:
    outputs = workspace.tables.head_outputs(student, head)
    if outputs.classes:
        return len(outputs.classes)
    declared = student.heads[head].width if head in student.heads else None
    if declared is not None:
        return declared
    terms = student.terms_of(head)
    widths = {term.learns: term_width(workspace, term) for term in terms}
    width = common_width(widths)
    if width is None:
        raise ContractError(
            f"{workspace.tables.path}: {where}: head {head!r}: its terms teach values of different"
            f" widths, {widths}. Give each a head of its own, or give this one a `width`:"
            " a term of another width is then learned through a projection."
        )
    return width


def common_width(widths: Mapping[str, int]) -> int | None:
    """Return the one width that all have; None where they differ."""
    values = widths.values()
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None


def term_width(workspace: Workspace, term: Term) -> int:
    """Return the numbers a row of what a term learns from: one a class, or as many as its values
    have. Raises PoolError."""
    classes = workspace.tables.term_outputs(term).classes
    if classes:
        return len(classes)
    if term.label_set is None:
        pool = str(term.pool)
        return _target_width(workspace, pool)
    return label_width(workspace, term.label_set)


def label_width(workspace: Workspace, name: str) -> int:
    """Return the numbers a row of `labels.<name>`. Raises PoolError."""
    tables = workspace.tables
    labels = tables.labels[name]
    where, first = next(labels.members(name))
    if isinstance(first, Fitted) and not tables.label_outputs(name).classes:
        fit = tables.fit[first.fit]
        return _target_width(workspace, fit.on)
    return tables.labeler_width(first, where)


def seen_width(workspace: Workspace, student: Student) -> int:
    """Return the numbers a row that a student sees, of unhashed text 1. Raises PoolError."""
    seen = student.features
    if seen is not None:
        return label_width(workspace, seen.label_set)
    first = student.pools[0]
    return workspace.pool_like(first).width


def structure_width(workspace: Workspace, name: str) -> int:
    """Return the numbers a row that `structure.<name>` sees. Raises PoolError."""
    tables = workspace.tables
    table = tables.structure[name]
    if table.structure is not None:
        below = tables.structure[table.structure].model
        return below.output(below.features).width
    if table.label_set is not None:
        return label_width(workspace, table.label_set)
    pool = str(table.pool)
    return pool_width(workspace, pool)


def pool_width(workspace: Workspace, name: str) -> int:
    """Return the numbers a row of a pool's features. Raises PoolError."""
    pool = workspace.pool_like(name)
    features = pool.features.model_dump(mode="json")
    format = with_mask(pool.inventory.format, {})  # masks are in the content's digest
    inputs = ["width", pool.inventory.content, [features, format]]
    return int(workspace.remember("checks", inputs, lambda: pool.width))


def _target_width(workspace: Workspace, pool: str) -> int:
    opened = workspace.pool_like(pool)
    spec = opened.spec.model_dump(mode="json", include={"target", "format"})
    content = opened.inventory.content
    inputs = ["target width", content, spec]
    tables = workspace.tables
    outputs = tables.pool_outputs(pool)
    width = workspace.remember("checks", inputs, lambda: opened.target_width(outputs))
    return int(width)
