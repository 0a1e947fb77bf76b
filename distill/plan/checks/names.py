"""Whether every pool, fit, structure, selection, label set, student and head named is there."""

from __future__ import annotations

from collections.abc import Iterable

from distill.plan.checks.problems import Problems
from distill.plan.tables import JobTables
from distill.spec.labels import Fitted, Merge, Pooled, Structured
from distill.spec.selections import selection_name
from distill.spec.students import HeldOut, Student


def check_names(tables: JobTables) -> Problems:
    """Yield every name that nothing has."""
    yield from _corrections(tables)
    yield from _fits(tables)
    yield from _structures(tables)
    yield from _selections(tables)
    yield from _labels(tables)
    for name, student in tables.students.items():
        yield from check_student_names(tables, student, f"students.{name}")
    for name, sweep in tables.sweep.items():
        for swept in sweep.students:
            yield from _known(swept, tables.students, f"sweep.{name}.student", "student")
    evaluate = tables.evaluate
    if evaluate:
        yield from _pool(tables, evaluate.on, "evaluate.on")
        yield from _label_set(tables, evaluate.teacher, "evaluate.teacher")
        yield from _label_set(tables, evaluate.former, "evaluate.former")
        for name in evaluate.sliced_labels:
            yield from _label_set(tables, name, "evaluate.slices")
        powered = evaluate.prediction_powered
        if powered:
            yield from _pool(tables, powered.over, "evaluate.prediction_powered.over")
            yield from _label_set(tables, powered.strata, "evaluate.prediction_powered.strata")
    for name in tables.gate.students if tables.gate else ():
        yield from _known(name, tables.students, "gate.students", "student")


def check_student_names(tables: JobTables, student: Student, where: str) -> Problems:
    """Yield the names in one student that nothing has; `where` is its key."""
    for number, term in enumerate(student.terms):
        learns = f"{where}.terms.{number}.learns"
        yield from _label_set(tables, term.label_set, learns)
        yield from _pool(tables, term.pool, learns)
    if student.features:
        yield from _label_set(tables, student.features.label_set, f"{where}.features.of")
    for pool in student.on:
        yield from _pool(tables, pool, f"{where}.on")
    if student.early_stop:
        yield from _early_stop(tables, student.early_stop, f"{where}.early_stop")
    for head in student.heads:
        yield from _known(head, student.head_names, f"{where}.heads", "head that a term teaches")


def _early_stop(tables: JobTables, stop: HeldOut, where: str) -> Problems:
    yield from _label_set(tables, stop.label_set, f"{where}.learns")
    yield from _pool(tables, stop.pool, f"{where}.learns")
    if stop.label_set:
        yield from _pool(tables, stop.over, f"{where}.over")


def _corrections(tables: JobTables) -> Problems:
    for name, pool in tables.pools.items():
        if pool.corrects is not None and selection_name(name) is None:
            base = pool.corrects.removeprefix("pools.")
            yield from _pool(tables, base, f"pools.{name}.corrects")
            if base in tables.pools and tables.pools[base].corrects is not None:
                yield (
                    f"pools.{name}.corrects = {pool.corrects!r}: these are corrections themselves."
                    " Name the pool that they are of."
                )


def _fits(tables: JobTables) -> Problems:
    for name, fit in tables.fit.items():
        yield from _pool(tables, fit.on, f"fit.{name}.on")
        if fit.features:
            yield from _label_set(tables, fit.features.label_set, f"fit.{name}.features.of")
        if fit.early_stop:
            yield from _pool(tables, fit.early_stop.pool, f"fit.{name}.early_stop.learns")


def _structures(tables: JobTables) -> Problems:
    for name, table in tables.structure.items():
        of = f"structure.{name}.of"
        yield from _pool(tables, table.pool, of)
        yield from _label_set(tables, table.label_set, of)
        yield from _known(table.structure, tables.structure, of, "structure")
        for pool in table.watch:
            yield from _pool(tables, pool, f"structure.{name}.watch")


def _selections(tables: JobTables) -> Problems:
    for name, table in tables.select.items():
        where = f"select.{name}"
        yield from _pool(tables, table.pool, f"{where}.of")
        if table.by.by_structure is not None:
            by = f"{where}.by.structure"
            yield from _known(table.by.by_structure, tables.structure, by, "structure")
        within = f"{where}.duplicates_within"
        yield from _known(table.duplicates_within, tables.structure, within, "structure")
        yield from _label_set(tables, table.by.by_labels, f"{where}.by.labels")
        yield from _known(table.former, tables.select, f"{where}.after", "selection")


def _structured(tables: JobTables, labeler: Structured, where: str) -> Problems:
    yield from _known(labeler.structure, tables.structure, f"{where}.structure", "structure")
    if labeler.structure not in tables.structure:
        return
    model = tables.structure[labeler.structure].model
    if labeler.gives not in model.gives:
        yield (
            f"{where}.gives = {labeler.gives!r}: structure.{labeler.structure} is a {model.kind},"
            f" which gives {' or '.join(map(repr, model.gives))}. Use one of those."
        )


def _labels(tables: JobTables) -> Problems:
    for name, labels in tables.labels.items():
        for key, labeler in labels.members(name):
            if isinstance(labeler, Fitted):
                yield from _known(labeler.fit, tables.fit, f"{key}.fit", "fit")
            if isinstance(labeler, Structured):
                yield from _structured(tables, labeler, key)
            if isinstance(labeler, Pooled):
                yield from _label_set(tables, labeler.votes_of, f"{key}.votes")
                yield from _label_set(tables, labeler.groups_of, f"{key}.groups")
            if isinstance(labeler, Merge):
                for own in labeler.own:
                    yield from _label_set(tables, own, f"{key}.of")
        for pool in labels.over:
            yield from _pool(tables, pool, f"labels.{name}.over")
        yield from _pool(tables, labels.calibrate_on, f"labels.{name}.calibrate_on")


def _pool(tables: JobTables, name: str | None, where: str) -> Problems:
    yield from _known(name, tables.pools, where, "pool")


def _label_set(tables: JobTables, name: str | None, where: str) -> Problems:
    yield from _known(name, tables.labels, where, "label set")


def _known(name: str | None, known: Iterable[str], where: str, what: str) -> Problems:
    """Yield a name that is not among the known ones; None names nothing."""
    names = list(known)
    if name is None or name in names:
        return
    named = ", ".join(names)
    there = named or "none"
    yield f"{where} = {name!r}: there is no such {what}. There is: {there}."
