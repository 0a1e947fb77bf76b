"""What a training says of the rows that it stops by, and of the rows that a step takes of each
source."""

from __future__ import annotations

from collections.abc import Iterator

from distill.plan.checks.labels import check_alike
from distill.plan.checks.terms import check_term
from distill.plan.held_out import fit_student, usual_loss
from distill.plan.tables import JobTables
from distill.spec.models import Eszsl
from distill.spec.students import Student

Problems = Iterator[str]


def check_fit_stop(tables: JobTables, name: str) -> Problems:
    """All problems of a fit's early stop."""
    fit, where = tables.fit[name], f"fit.{name}.early_stop"
    if fit.early_stop is None:
        return
    if isinstance(fit.model, Eszsl):
        yield f"{where}: {fit.model.kind!r} is fitted by passes and has no epochs. Leave it out."
    elif fit.early_stop.label_set:
        yield (
            f"{where}.learns = {fit.early_stop.learns!r}: a fit comes before all labels. Name a"
            " pool with a target, as 'pools.NAME'."
        )
    else:
        yield from check_stop(
            tables, fit_student(fit, usual_loss(tables.pool_outputs(fit.on))), where
        )


def check_stop(tables: JobTables, student: Student, where: str) -> Problems:
    """All problems of a student's early stop, whose names exist."""
    stop = student.early_stop
    if stop is None:
        return
    if stop.label_set and stop.over is None:
        yield (
            f"{where}.over: missing. Say over which of {list(tables.labels[stop.label_set].over)} the"
            f" labels of {stop.learns} are held out."
        )
    elif stop.label_set and stop.over not in tables.labels[stop.label_set].over:
        yield (
            f"{where}.over = {stop.over!r}: {stop.learns} covers"
            f" {list(tables.labels[stop.label_set].over)}. Label that pool too, or name another."
        )
    elif stop.pool and stop.over is not None:
        yield (
            f"{where}.over = {stop.over!r}: the rows of {stop.learns} are held out. Leave `over` to"
            " label sets."
        )
    elif stop.head not in student.head_names:
        yield (
            f"{where}.head = {stop.head!r}: no term teaches that head. There is:"
            f" {', '.join(student.head_names)}."
        )
    else:
        yield from _held_out(tables, student, str(stop.rows), where)
        yield from check_term(tables, student, tables.held_out_term(stop), where)


def _held_out(tables: JobTables, student: Student, pool: str, where: str) -> Problems:
    """Whether its rows are nobody else's."""
    if pool in student.taught_on:
        yield (
            f"{where}: measures on pools.{pool}, which it is trained on. Hold out a pool of its"
            " own."
        )
    if tables.evaluate and tables.evaluate.on == pool:
        yield (
            f"{where}: measures on pools.{pool}, which students are judged on: its epoch would be"
            " chosen by what it is judged by. Hold out another pool."
        )
    yield from check_alike(tables, (*sorted(student.taught_on), pool), where)


def check_shares(student: Student, where: str) -> Problems:
    """Whether each source's share of a batch is whole rows a lane."""
    own = {term.pool for term in student.terms if term.pool}
    joined = any(term.label_set for term in student.terms)
    for pool, share in student.batch_share.items():
        said = f"{where}.batch_share.{pool} = {share:g}"
        if pool not in own:
            named = ", ".join(sorted(filter(None, own))) or "none"
            yield f"{said}: no term learns the target of that pool. There is: {named}."
        elif joined and student.on == (pool,):
            yield (
                f"{said}: its rows are seen with label sets, and those give batch_rows. Leave it"
                " out."
            )
        else:
            yield from _whole(student, share, said)


def _whole(student: Student, share: float, said: str) -> Problems:
    rows = student.training.batch_rows // student.training.lanes
    wanted = share * rows
    if wanted >= 1 and abs(wanted - round(wanted)) < 0.01:
        return
    near = sorted({max(1, int(wanted)), min(rows, int(wanted) + 1)})
    yield (
        f"{said}: is {wanted:.4g} of the {rows} rows that each of {student.training.lanes} lanes"
        " gives to a step, where whole rows are due, one at the least. Write"
        f" {' or '.join(f'{each / rows:.6g}' for each in near)}, or change batch_rows."
    )


def stop_names(
    tables: JobTables, student: Student
) -> Iterator[tuple[str, str | None, list[str], str]]:
    """Key, name, known names and kind of what an early stop names."""
    stop = student.early_stop
    if stop is not None and stop.label_set:
        yield "early_stop.learns", stop.label_set, [*tables.labels], "label set"
        yield "early_stop.over", stop.over or next(iter(tables.pools)), [*tables.pools], "pool"
    elif stop is not None:
        yield "early_stop.learns", stop.pool, [*tables.pools], "pool"
