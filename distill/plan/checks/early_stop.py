"""What a training says of the rows that it stops by: they are no others', and can be measured."""

from __future__ import annotations

from distill.plan.checks.evaluation import is_judged_on
from distill.plan.checks.networks import check_same_features
from distill.plan.checks.problems import Problems
from distill.plan.checks.terms import check_term
from distill.plan.held_out import fit_student, usual_loss
from distill.plan.tables import JobTables
from distill.spec.models import Eszsl
from distill.spec.students import HeldOut, Student


def check_fit_stop(tables: JobTables, name: str) -> Problems:
    """Yield all problems of a fit's early stop, whose names exist."""
    fit = tables.fit[name]
    stop = fit.early_stop
    where = f"fit.{name}.early_stop"
    if stop is None:
        return
    if isinstance(fit.model, Eszsl):
        yield f"{where}: {fit.model.kind!r} is fitted by passes and has no epochs. Leave it out."
    elif stop.label_set:
        yield (
            f"{where}.learns = {stop.learns!r}: a fit comes before all labels."
            " Name a pool with a target, as 'pools.NAME'."
        )
    else:
        outputs = tables.pool_outputs(fit.on)
        loss = usual_loss(outputs)
        student = fit_student(fit, loss)
        yield from check_stop(tables, student, where)


def check_stop(tables: JobTables, student: Student, where: str) -> Problems:
    """Yield all problems of a student's early stop, whose names exist; `where` is its key."""
    stop = student.early_stop
    if stop is None:
        return
    problems = [*_over(tables, stop, where), *_head(student, stop, where)]
    if problems:
        yield problems[0]
        return
    yield from _held_out(tables, student, str(stop.rows), where)
    yield from check_term(tables, student, tables.held_out_term(stop), where)


def _over(tables: JobTables, stop: HeldOut, where: str) -> Problems:
    """Whether `over` is there for a label set, and is left out for a target."""
    over = f"{where}.over = {stop.over!r}"
    if stop.label_set is None:
        if stop.over is not None:
            yield f"{over}: the rows of {stop.learns} are held out. Leave `over` to label sets."
        return
    covered = list(tables.labels[stop.label_set].over)
    if stop.over is None:
        yield (
            f"{where}.over: missing. Say over which of {covered} the labels of {stop.learns} are"
            " held out."
        )
    elif stop.over not in covered:
        yield f"{over}: {stop.learns} covers {covered}. Label that pool too, or name another."


def _head(student: Student, stop: HeldOut, where: str) -> Problems:
    if stop.head not in student.head_names:
        there = ", ".join(student.head_names)
        yield f"{where}.head = {stop.head!r}: no term teaches that head. There is: {there}."


def _held_out(tables: JobTables, student: Student, pool: str, where: str) -> Problems:
    """Whether its rows are nobody else's."""
    if pool in student.taught_on:
        yield (
            f"{where}: measures on pools.{pool}, which it is trained on."
            " Hold out a pool of its own."
        )
        return
    shared = [each for each in student.taught_on if tables.may_share_rows(each, pool)]
    if shared:
        yield (
            f"{where}: measures on pools.{pool}, which may have rows of pools.{shared[0]}, which it"
            " is trained on. Hold out another pool, or a selection that comes `after` that one."
        )
    if is_judged_on(tables, pool):
        yield (
            f"{where}: measures on pools.{pool}, which students are judged on:"
            " its epoch would be chosen by what it is judged by. Hold out another pool."
        )
    taught_on = sorted(student.taught_on)
    yield from check_same_features(tables, (*taught_on, pool), where)
