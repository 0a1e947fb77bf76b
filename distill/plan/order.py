"""In which order a job makes what its students learn from: fits, structures, selections and label
sets, each after what it needs.

Each of them is known by its key in the job file, such as `labels.teacher`. What needs nothing that
is made stands in the order of the job, fits first: a job of fits and label sets alone is worked on
as it always was. Pools and students are no part of it: pools are there before, and students come
when all label sets are there.

A new kind of table is one line in `_TABLES` and one in `_NEEDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from distill.core.errors import JobError
from distill.plan.tables import JobTables
from distill.spec.labels import Fitted, Pooled, Structured
from distill.spec.students import Student


class Batch(NamedTuple):
    """Things of one kind with nothing of another kind between them: they are handed to their stage
    together, so that networks share one group of workers."""

    kind: str  # `fit`, `structure`, `select` or `labels`: the first part of their keys
    names: tuple[str, ...]


def working_order(tables: JobTables) -> list[Batch]:
    """Return all that a job makes before its students, each after what it needs. Raises JobError
    for things that need each other in a circle."""
    order: dict[str, None] = {}
    for key in _keys(tables):
        _append(tables, key, (), order)
    pairs = [key.split(".", 1) for key in order]
    batches = groupby(pairs, lambda pair: pair[0])
    return [Batch(kind, tuple(name for _, name in group)) for kind, group in batches]


def all_needed(tables: JobTables, keys: Iterable[str], *, to_label: bool = True) -> set[str]:
    """Return some things by their keys with all that they need, pools too; of label sets what
    decides the labeler alone where it is not `to_label`. A name that nothing has needs nothing."""
    found = set()
    left = list(keys)
    while left:
        key = left.pop()
        if key in found:
            continue
        found.add(key)
        kind, _, name = key.partition(".")
        if kind == "labels" and name in tables.labels and not to_label:
            left += labeler_needs(tables, name)
        elif name in _tables(tables).get(kind, ()):
            left += _NEEDS[kind](tables, name)
        elif kind == "students" and name in tables.students:
            student = tables.students[name]
            left += student_needs(student)
    return found


def student_needs(student: Student) -> Iterator[str]:
    """Yield the keys of what a student needs, pools too."""
    yield from (term.learns for term in student.terms)
    yield from map(pool_key, student.pools)
    if student.features is not None:
        yield student.features.of
    if student.early_stop is not None:
        yield student.early_stop.learns


def pool_key(pool: str) -> str:
    """Return the key of a pool, which may be a selection's: that names itself `select.NAME`."""
    return pool if "." in pool else f"pools.{pool}"


def _keys(tables: JobTables) -> Iterator[str]:
    for kind, table in _tables(tables).items():
        for name in table:
            yield f"{kind}.{name}"


def _append(tables: JobTables, key: str, waiting: tuple[str, ...], order: dict[str, None]) -> None:
    """Append one thing to the order behind all that it needs; `waiting` are those that need it."""
    if key in waiting:
        circle = (*waiting[waiting.index(key) :], key)
        raise JobError(
            f"{', which needs '.join(circle)}: none of them can be the first. Break the circle."
        )
    kind, _, name = key.partition(".")
    # a pool is there before; a name that nothing has is refused by `checks.names`
    if key in order or name not in _tables(tables).get(kind, ()):
        return
    for needed in _NEEDS[kind](tables, name):
        _append(tables, needed, (*waiting, key), order)
    order[key] = None


def _tables(tables: JobTables) -> dict[str, Mapping[str, object]]:
    """What a job makes, by kind and name; kinds in the usual order of their making."""
    return {
        "fit": tables.fit,
        "structure": tables.structure,
        "select": tables.select,
        "labels": tables.labels,
    }


def _fit_needs(tables: JobTables, name: str) -> Iterator[str]:
    fit = tables.fit[name]
    yield pool_key(fit.on)
    if fit.features is not None:
        yield fit.features.of
    stop = fit.early_stop
    if stop is not None and stop.pool is not None:
        yield pool_key(stop.pool)


def _structure_needs(tables: JobTables, name: str) -> Iterator[str]:
    table = tables.structure[name]
    yield pool_key(table.pool) if table.pool else table.of


def _select_needs(tables: JobTables, name: str) -> Iterator[str]:
    table = tables.select[name]
    if table.structure is not None:
        yield f"structure.{table.structure}"
    by_labels = table.by.by_labels
    if by_labels is not None:
        yield f"labels.{by_labels}"
    if table.after is not None:
        yield table.after


def _label_needs(tables: JobTables, name: str) -> Iterator[str]:
    yield from labeler_needs(tables, name)
    yield from map(pool_key, tables.labels[name].over)


def labeler_needs(tables: JobTables, name: str) -> Iterator[str]:
    """Yield the keys of what the labeler of a label set needs; not of the pools that it labels."""
    labels = tables.labels[name]
    for _, labeler in labels.members(name):
        if isinstance(labeler, Fitted):
            yield f"fit.{labeler.fit}"
        if isinstance(labeler, Structured):
            yield f"structure.{labeler.structure}"
    if isinstance(labels.labeler, Pooled):
        yield labels.labeler.votes
        yield labels.labeler.groups
    if labels.merge is not None:
        yield from (f"labels.{own}" for own in labels.merge.own)
    if labels.calibrate_on is not None:
        yield pool_key(labels.calibrate_on)


# yield the keys of what one thing of a kind needs, pools too
_NEEDS: dict[str, Callable[[JobTables, str], Iterator[str]]] = {
    "fit": _fit_needs,
    "structure": _structure_needs,
    "select": _select_needs,
    "labels": _label_needs,
}
