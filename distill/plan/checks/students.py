"""What `[students.NAME]` says of the rest of a job, and each variant of it that a sweep makes."""

from __future__ import annotations

from distill.plan.checks.early_stop import check_stop
from distill.plan.checks.evaluation import is_judged_on
from distill.plan.checks.names import check_student_names
from distill.plan.checks.networks import check_networks, check_same_features
from distill.plan.checks.private import check_private_student
from distill.plan.checks.problems import Problems
from distill.plan.checks.terms import check_term
from distill.plan.checks.training import (
    check_augment,
    check_row_limits,
    check_shares,
    check_tokens,
    check_training,
)
from distill.plan.checks.views import check_replay
from distill.plan.tables import JobTables
from distill.spec.pools import Features
from distill.spec.students import Student, Term


def check_sweeps(tables: JobTables) -> Problems:
    """Yield why a sweep makes no students."""
    try:
        _ = tables.job.variants
    except ValueError as error:
        yield str(error)


def check_students(tables: JobTables) -> Problems:
    """Yield all problems of students as they are trained, variant by variant."""
    for variant in tables.job.variants:
        student = variant.student
        where = f"students.{student}"
        # a sweep may have changed the names that were checked in the table
        unknown = list(check_student_names(tables, variant.spec, where))
        yield from unknown
        if not unknown:
            yield from _student(tables, variant.spec, where)


def _student(tables: JobTables, student: Student, where: str) -> Problems:
    yield from check_training(student.training, f"{where}.training")
    yield from check_tokens(student.training, student.model, f"{where}.training")
    yield from check_augment(student.training, _seen(tables, student), f"{where}.training")
    yield from check_private_student(tables, student, where)
    yield from check_replay(tables, student, where)
    yield from _weights(student, where)
    yield from check_shares(student, where)
    yield from check_row_limits(student, where)
    yield from _rows(tables, student, where)
    yield from check_networks(tables, student, where)
    yield from _columns(tables, student, where)
    for number, term in enumerate(student.terms):
        yield from check_term(tables, student, term, f"{where}.terms.{number}")
    yield from check_stop(tables, student, f"{where}.early_stop")


def _seen(tables: JobTables, student: Student) -> dict[str, Features | None]:
    """What a student sees of each pool that it is taught on: no features of a label set's values."""
    if student.features is not None:
        return dict.fromkeys(student.taught_on)
    return {pool: tables.pools[pool].features for pool in student.taught_on}


def _weights(student: Student, where: str) -> Problems:
    """Whether any term counts at any step."""
    if any(term.weight > 0 or (term.ramp and term.ramp.begin > 0) for term in student.terms):
        return
    keys = ", ".join(f"terms.{number}.weight" for number in range(len(student.terms)))
    yield f"{where}: {keys} are all 0, so it learns nothing. Give one term a weight above 0."


def _rows(tables: JobTables, student: Student, where: str) -> Problems:
    """Whether it sees alike rows, all of them labelled, and none that it is judged on."""
    pools = list(student.taught_on)
    evaluate = tables.evaluate
    if evaluate:
        pools.append(evaluate.on)
    yield from check_same_features(tables, pools, f"{where}.on")
    for term in student.terms:
        yield from _covered(tables, student, term, where)
        if term.pool and is_judged_on(tables, term.pool):
            yield (
                f"{where}: learns the target of pools.{term.pool}, which it is judged on."
                " Teach it from another pool."
            )
    for pool in student.on:
        if is_judged_on(tables, pool):
            yield f"{where}.on: has pools.{pool}, which it is judged on. Leave it out."
    yield from _taught(student, where)


def _taught(student: Student, where: str) -> Problems:
    """Whether each pool that it names teaches it: without label sets nobody sees but the rows of
    the targets' own pools."""
    untaught = sorted(set(student.on).difference(term.pool or "" for term in student.terms))
    if untaught and not any(term.label_set for term in student.terms):
        yield (
            f"{where}.on = {list(student.on)}: no term learns anything of {untaught}. Add a term"
            f" with learns = 'pools.{untaught[0]}', or leave it out."
        )


def _covered(tables: JobTables, student: Student, term: Term, where: str) -> Problems:
    if term.label_set is None:
        return
    covered = tables.labels[term.label_set].over
    if not student.on or not set(student.on).issubset(covered):
        yield (
            f"{where}.on = {list(student.on)}: {term.learns} covers {list(covered)}."
            " Label those pools too, or name others."
        )


def _columns(tables: JobTables, student: Student, where: str) -> Problems:
    """Whether `predict` would write two columns of one name."""
    for head in student.head_names:
        outputs = tables.head_outputs(student, head)
        probability = f"{head}_probability"
        has_probability = outputs.exclusive and bool(outputs.classes)
        if has_probability and probability in student.head_names:
            yield (
                f"{where}.heads: heads {head!r} and {probability!r} would have columns of one name"
                " where `predict` writes the first one's probability. Rename one."
            )
