"""What `[apply.NAME]` and `[cascade.NAME]` say of students, labelled rows and label sets. What needs the
trained student stands in `applied`."""

from __future__ import annotations

from collections.abc import Iterable

from distill.plan.checks.problems import Problems
from distill.plan.tables import JobTables
from distill.spec.cascade import REVIEW, Cascade


def check_cascades(tables: JobTables) -> Problems:
    """Yield all problems of both."""
    for name, settings in tables.apply.items():
        where = f"apply.{name}"
        if settings.model is None and name not in tables.students:
            yield (
                f"{where}: there is no student {name!r}, and the table names no `model`. There is:"
                f" {_named(tables.students)}."
            )
        if settings.calibrate_on is not None:
            key = f"{where}.calibrate_on = {settings.calibrate_on!r}"
            yield from _labelled(tables, settings.calibrate_on, key)
            yield from _unseen(tables, name, settings.calibrate_on, key)
    for name, cascade in tables.cascade.items():
        yield from _cascade(tables, name, cascade)


def _cascade(tables: JobTables, name: str, cascade: Cascade) -> Problems:
    where = f"cascade.{name}"
    student = cascade.student or name
    settings = tables.apply.get(student)
    if student not in tables.students and (settings is None or settings.model is None):
        yield (
            f"{where}: there is no student {student!r}. There is: {_named(tables.students)}."
            " Name one by `student`."
        )
    if cascade.label_set is not None and cascade.label_set not in tables.labels:
        known = _named(tables.labels)
        yield (f"{where}.to = {cascade.to!r}: there is no such label set. There is: {known}.")
    key = f"{where}.on = {cascade.on!r}"
    yield from _labelled(tables, cascade.on, key)
    yield from _exclusive(tables, cascade.on, key)
    yield from _unseen(tables, student, cascade.on, key)
    calibrated = settings.calibrate_on if settings else None
    if calibrated is not None and _share(tables, calibrated, cascade.on):
        yield (
            f"{key}: the student's temperature is found on those rows (apply.{student}.calibrate_on),"
            " so they prove less than they seem to. Calibrate on others, or not."
        )
    is_encrypted = settings is not None and settings.encryption is not None
    yield from _in_plain_text(tables, name, student, is_encrypted=is_encrypted)


def _in_plain_text(tables: JobTables, name: str, student: str, *, is_encrypted: bool) -> Problems:
    """Whether a cascade would write beside its encrypted answers, or from encrypted labels, what
    everybody can read."""
    cascade = tables.cascade[name]
    to = f"cascade.{name}.to = {cascade.to!r}"
    if is_encrypted and cascade.to == REVIEW:
        yield (
            f"{to}: rows for people are written as plain text, and apply.{student}.encryption asks"
            " for none. Send them to a label set, or to nobody."
        )
    labels = tables.labels.get(cascade.label_set or "")
    if labels is not None and labels.encryption is not None and not is_encrypted:
        yield (
            f"{to}: those labels are encrypted, and what is written of them would be plain. Give"
            f" [apply.{student}] an `encryption` too."
        )


def _labelled(tables: JobTables, pool: str, where: str) -> Problems:
    if pool not in tables.pools:
        yield f"{where}: there is no such pool. There is: {_named(tables.pools)}."
    elif tables.pools[pool].target is None:
        yield f"{where}: that pool has no target to judge by. Name its target column."


def _exclusive(tables: JobTables, pool: str, where: str) -> Problems:
    if pool in tables.pools and tables.pools[pool].target is not None:
        truth = tables.pool_outputs(pool)
        if not truth.is_exclusive:
            yield f"{where}: its target says {truth.in_words}, where one class is due."


def _unseen(tables: JobTables, student: str, pool: str, where: str) -> Problems:
    """Whether a student has not learned from rows."""
    # on rows that taught it a student is surer than elsewhere
    spec = tables.students.get(student)
    if spec is None:
        return
    for seen in spec.pools:
        if _share(tables, seen, pool):
            yield (
                f"{where}: students.{student} learns from pools.{seen}, where it is surer than"
                " elsewhere. Name rows that it never saw."
            )


def _share(tables: JobTables, one: str, other: str) -> bool:
    known = one in tables.pools and other in tables.pools
    return known and tables.may_share_rows(one, other)


def _named(names: Iterable[str]) -> str:
    named = ", ".join(names)
    return named or "none"
