"""The audit of a job: rows drawn, shadows taught by the same job, everyone asked, and what that
tells kept.

Each part does only what is unfinished, so a killed audit goes on. All shadows' networks of a kind
are trained together, side by side in one group of workers where there is room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from distill.core.audit_results import AuditResult, bound_sentence, subject_sentence
from distill.plan.audit.asking import audit_step
from distill.plan.audit.audit_plan import AuditPlan, DerivedRun, read_audit
from distill.plan.steps import TrainStep
from distill.pools.split import write_rows
from distill.run.driver import Driver
from distill.stages.audit.find_members import find_members
from distill.stages.audit.write import write_canaries
from distill.stages.fit import fit_labeler
from distill.storage.open import open_storage

Say = Callable[[str], None]


def audit_job(driver: Driver, say: Say) -> AuditResult:
    """Audit what a job taught, unless that is done; `say` gets a line for each thing that was found.
    Raises JobError without `[audit]`, ContractError where a subject is not there."""
    plan = AuditPlan(driver.plan.workspace)
    key = plan.result_key()
    found = read_audit(plan.results, key)
    if found is None:
        found = _find(driver, plan, key)
    for line in audit_lines(found):
        say(line)
    return found


def audit_lines(audit: AuditResult) -> list[str]:
    """Say what an audit found, a line each."""
    lines = []
    for subject in audit.subjects:
        lines.append(subject_sentence(audit, subject))
        if subject.without_shadows:
            lines.append(f"{subject.name}: no LiRA, since {subject.without_shadows}.")
        bound = bound_sentence(subject)
        if bound:
            lines.append(bound)
    return lines


def _find(driver: Driver, plan: AuditPlan, key: str) -> AuditResult:
    write_rows(plan.tried_folder, plan.tried, plan.columns)
    if plan.audit.canaries:
        write_canaries(plan.canary_folder.uri, plan.canaries, plan.columns, plan.truth)
    shadows = []
    if plan.shadowed:
        runs = [plan.shadow(number) for number in range(plan.audit.shadows)]
        shadows = [_Taught(driver, run) for run in runs]
    canary_run = _Taught(driver, plan.canary_run()) if plan.with_canaries else None
    everyone = [*shadows, canary_run] if canary_run else shadows
    _teach(driver, everyone)
    with driver.meter.step("audit") as begin:
        begin()
        step = audit_step(
            plan,
            [each.driver.plan.workspace for each in shadows],
            canary_run.driver.plan.workspace if canary_run else None,
        )
        return find_members(step, driver.engine, plan.results, key)


class _Taught:
    """One derived job, and the driver of its stages."""

    def __init__(self, driver: Driver, run: DerivedRun) -> None:
        self.run = run
        write_rows(open_storage(run.rows_folder), run.sets, run.columns)
        self.driver = Driver(run.job, driver.engine, None, driver.recorder)
        # what shadows take is spent by the audited job
        self.driver.meter = driver.meter

    def named(self, steps: Iterable[TrainStep]) -> list[TrainStep]:
        """Return trainings by names that no other derived job has: they are told side by side."""
        return [self._named(step) for step in steps]

    def _named(self, step: TrainStep) -> TrainStep:
        name = f"{step.name} ({self.run.title})"
        if step.plan is None:
            return replace(step, name=name)
        return replace(step, name=name, plan=replace(step.plan, name=name))

    def label(self) -> None:
        """Write the label sets that the labelled rows taught."""
        plan = self.driver.plan
        for name in plan.in_order("labels"):
            if plan.tables.job.root_of(f"labels.{name}") == plan.tables.root_uri:
                self.driver.label(name)


def _teach(driver: Driver, derived: Sequence[_Taught]) -> None:
    """Fit, label and train what derived jobs are made of, doing only what is unfinished."""
    fits = [step for each in derived for step in each.named(each.driver.plan.trained_fits())]
    driver.train_steps(fits)
    for each in derived:
        for step in each.driver.plan.fits():
            fit_labeler(step, driver.engine)
        each.label()
    students = [step for each in derived for step in each.named(each.driver.plan.students())]
    driver.train_steps(students)
