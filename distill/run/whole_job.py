"""Everything that a job says, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from distill.core.judgement import gate_sentences
from distill.core.results import Evaluation
from distill.engine.select import EngineChoice
from distill.job.job import Job
from distill.labels.parts import Part
from distill.run.driver import Driver
from distill.run.lines import trained_line
from distill.stages.report.write_report import require_report_extra
from distill.storage.base import Storage

Say = Callable[[str], None]


@dataclass(frozen=True)
class Finished:
    """What a whole job came to."""

    evaluation: Evaluation | None
    report: str | None
    """URL of the report."""
    beyond: tuple[str, ...] = ()
    """What came out beyond a limit that the job sets, a sentence each."""


def run_job(
    job: Job, say: Say = print, *, engine: EngineChoice = "ray", part: Part | None = None
) -> Finished:
    """Run all stages, in order; `say` gets a line for each thing that is there. As the driver of a
    `part` other than the first, leave when all is labelled. Raises DistillError."""
    if job.evaluate is not None:
        require_report_extra()
    driver = Driver(job, engine, part)
    driver.refuse_rounds_in_parts()
    driver.prepare(job.labels)
    _make_all(driver, say)
    if not driver.trains:
        say(f"Part {part} is done: students, evaluation and report are part 0's.")
        return Finished(None, None)
    judged = _train_and_judge(driver, say)
    while judged is not None and _next_round(driver, judged[0], say):
        driver = Driver(job, engine, part, driver.recorder)
        driver.prepare(job.labels)  # pools have grown
        _make_all(driver, say)
        judged = _train_and_judge(driver, say)
    drifts = tuple(_drifts(driver, say))
    if judged is None:
        return Finished(None, None, drifts)
    evaluation, folder = judged
    refused = gate_sentences(evaluation.gate) if evaluation.gate else []
    return Finished(evaluation, driver.report(evaluation, folder), (*refused, *drifts))


def _make_all(driver: Driver, say: Say) -> None:
    """Make all that students learn from."""
    for batch in driver.plan.working_order():
        for line in driver.make(batch.kind, batch.names):
            say(line)


def _train_and_judge(driver: Driver, say: Say) -> tuple[Evaluation, Storage] | None:
    """Train students, and judge them where the job says on which rows."""
    for trained in driver.train():
        say(trained_line(trained))
    if driver.job.audit is not None:
        from distill.run.audit import audit_job

        audit_job(driver, say)
    return None if driver.job.evaluate is None else driver.evaluate()


def _next_round(driver: Driver, evaluation: Evaluation, say: Say) -> bool:
    """Keep what the rounds of selections were worth; whether any is to have another one."""
    for step in driver.plan.rounds_to_measure():
        from distill.stages.select.measure_round import measure_line, measure_round

        say(measure_line(step, measure_round(step, evaluation)))
    return driver.plan.has_round_due()


def _drifts(driver: Driver, say: Say) -> Iterator[str]:
    """Tell how far watched pools drifted, and yield what of it is too far."""
    for step in driver.plan.drifts():
        from distill.stages.structure.drift import drift_line, measure_drift

        drift = measure_drift(step, driver.engine)
        line = drift_line(step, drift)
        say(line)
        if step.most is not None and drift.index > step.most:
            yield f"{line}. Look at those rows, and fit the structure on rows like them."
