"""`distill apply`: a student over a whole pool, by itself or as a cascade.

    label by the student ► (cascade: choose a threshold ► the teacher labels what is sent on) ► write

All labelling is that of `distill label`: label sets under names of their own, in a job that has
them too. So a killed command is gone on with by the same command, parts share the work, and GPUs
are as `[apply.NAME.compute]` and the teacher's own `compute` say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from distill.core.cascades import CascadeResult
from distill.core.errors import JobError
from distill.engine.select import EngineChoice
from distill.job.job import Job
from distill.labels.parts import Part
from distill.plan.apply import NamedLabels, applied_labels, settings_of, write_step
from distill.plan.apply_steps import CascadeStep, SentRows
from distill.plan.cascades import asking, cascade_step, with_own
from distill.plan.checks.applied import require_cascade
from distill.run.driver import Driver
from distill.run.lines import cascade_line, labels_line
from distill.spec.labels import Labels
from distill.spec.selections import SELECT, Select
from distill.stages.apply.applied_files import Applied, read_applied, verify_applied
from distill.stages.apply.send_on import send_on
from distill.stages.apply.write_rows import write_rows

log = logging.getLogger(__name__)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Application:
    """What came of one command: nothing of parts but the first, which writes."""

    applied: Applied | None
    cascade: CascadeResult | None
    problems: tuple[str, ...] = ()
    """What is wrong with the files, where they were to be verified."""


def apply_student(
    job: Job,
    name: str,
    pool: str,
    say: Say = print,
    *,
    verify: bool = False,
    engine: EngineChoice = "ray",
    part: Part | None = None,
) -> Application:
    """Answer every row of a pool by a student, or by the cascade of that name, and write the
    answers as Parquet, doing only what is missing. `say` gets a line for each thing that is there;
    with `verify`, all files are read again.

    Raises JobError for a name that the job lacks, ContractError where the student is not trained,
    LimitError where no threshold of a cascade is proven; and as `label_pool`.
    """
    driver = Driver(job, engine, part)
    tables = driver.plan.tables
    if pool not in tables.pools:
        there = ", ".join(tables.pools)
        raise JobError(f"{tables.path}: there is no pool {pool!r}. There is: {there}.")
    driver.prepare()
    if name in tables.cascade:
        application = _apply_cascade(driver, name, pool, say)
    else:
        application = _apply_alone(driver, name, pool, say)
    if not verify or application.applied is None:
        return application
    rows = driver.plan.workspace.pool(pool).inventory.rows
    problems = verify_applied(application.applied.uri, rows)
    return Application(application.applied, application.cascade, tuple(problems))


def _apply_alone(driver: Driver, student: str, pool: str, say: Say) -> Application:
    named = applied_labels(driver.plan.workspace, student, pool)
    labelling = _with_tables(driver, named.tables)
    _label(labelling, named.name, say)
    return Application(_write(labelling, student, student, named, None), None)


def _apply_cascade(driver: Driver, name: str, pool: str, say: Say) -> Application:
    workspace = driver.plan.workspace
    student = workspace.tables.cascade[name].student or name
    applied = applied_labels(workspace, student, pool)
    table = require_cascade(workspace, name, applied)
    judged = applied_labels(workspace, student, table.on)
    labelling = _with_tables(driver, {**applied.tables, **judged.tables})
    _label(labelling, judged.name, say)  # a few rows, and all that is wrong shows on them
    _label(labelling, applied.name, say)
    step = cascade_step(labelling.plan.workspace, name, applied, judged)
    with labelling.meter.step(f"cascade.{name}") as begin:
        if step.found is None:
            begin()
        result = send_on(step, labelling.engine)
    say(cascade_line(result))
    sent = _answered(labelling, step, result, say)
    return Application(_write(labelling, name, student, applied, sent), result)


def _answered(driver: Driver, step: CascadeStep, result: CascadeResult, say: Say) -> SentRows:
    """Let whoever rows are sent to answer them."""
    teacher = step.table.label_set
    if teacher is None or not result.sent:
        return SentRows(result, step.selection_folder, ())
    more = asking(driver.plan.workspace, step)
    if more is None:
        return SentRows(result, step.selection_folder, step.answered)
    labelling = _with_tables(driver, more.labels, more.select)
    labelling.prepare((teacher,))
    _warn_of_former_rows(labelling, step, result, teacher)
    _label(labelling, teacher, say)
    answered = with_own(labelling.plan.workspace, step)
    return SentRows(result, step.selection_folder, answered)


def _warn_of_former_rows(
    driver: Driver, step: CascadeStep, result: CascadeResult, teacher: str
) -> None:
    """Say where the teacher is going to be paid for rows that are no longer sent on: of a larger
    choice whose labelling was cut off."""
    over = f"{SELECT}{step.selection}"
    workspace = driver.plan.workspace
    rows = workspace.pool(over).inventory.rows
    left = rows - workspace.label_set(teacher, over).entries.rows
    if left > result.sent:
        log.warning(
            "cascade.%s: labels.%s is asked about %d rows, though %d are sent on: an earlier choice,"
            " whose labelling was cut off, sent on the others. To give these up, stop now and give"
            " the cascade another name; what was answered before is then asked again.",
            step.name,
            teacher,
            left,
            result.sent,
        )


def _write(
    driver: Driver, name: str, student: str, named: NamedLabels, sent: SentRows | None
) -> Applied | None:
    if not driver.trains:
        return None
    workspace = driver.plan.workspace
    settings = settings_of(workspace, student)
    step = write_step(workspace, name, named, probabilities=settings.probabilities, sent=sent)
    with driver.meter.step(f"apply.{name}") as begin:
        if read_applied(step.folder) is None:
            begin()
        return write_rows(step, driver.engine)


def _label(driver: Driver, name: str, say: Say) -> None:
    for summary in driver.label(name):
        say(labels_line(summary))


def _with_tables(
    driver: Driver, labels: Mapping[str, Labels], select: Mapping[str, Select] | None = None
) -> Driver:
    """The same command on the job with more tables; pools are not listed anew."""
    wider = driver.job.with_tables(labels, select or {})
    other = Driver(wider, driver.engine, driver.part, driver.recorder)
    other.plan.workspace.see_as(driver.plan.workspace)
    return other
