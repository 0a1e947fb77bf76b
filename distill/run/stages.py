"""One stage each, as the command calls them and a program may: only what is unfinished is done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from distill.core.audit_results import AuditResult
from distill.core.errors import DistillError, JobError, LimitError
from distill.core.fleet import Fleet, fleets
from distill.core.judgement import PASSED, GateResult, gate_sentences
from distill.core.results import Evaluation
from distill.engine.select import EngineChoice
from distill.job.job import Job
from distill.labels.parts import Part
from distill.models.record import Trained
from distill.plan.audit.audit_plan import AuditPlan
from distill.plan.plan import Plan
from distill.plan.status import StatusLine, job_status
from distill.plan.timelines import read_records
from distill.run.driver import Driver
from distill.spec.pate import Pate
from distill.stages.evaluate.audit_gate import with_audit
from distill.stages.gc import (
    Garbage,
    collect_garbage,
    collect_leftovers,
    collect_records,
    collect_shadows,
)
from distill.stages.label import canary, preview
from distill.stages.label.label_pool import LabelSummary
from distill.stages.label.preview import Preview
from distill.stages.select.select_rows import Selected
from distill.stages.verify import Verified
from distill.stages.verify import verify_labels as verify

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from distill.stages.export.export_students import Exported


def prepare_inputs(job: Job, labels: Iterable[str] = (), *, engine: EngineChoice = "ray") -> None:
    """Make the pools that the job makes itself, list all, refuse what cannot be read or trained, and
    make the models of those label sets, before any work. Raises DistillError."""
    Driver(job, engine).prepare(labels)


def fit_labelers(
    job: Job, names: Sequence[str] | None = None, *, engine: EngineChoice = "ray"
) -> list[Trained]:
    """Fit labelers, all by default: networks by gradients, in one worker group; the others by
    passes. Raises DistillError."""
    driver = Driver(job, engine)
    driver.prepare()
    return driver.fit(names)


def fit_structures(
    job: Job, name: str | None = None, *, engine: EngineChoice = "ray"
) -> list[Trained]:
    """Fit one structure by name, or all, those first that others stand on. Raises JobError for a
    name that the job lacks, ContractError where what it is fitted on is missing, PoolError for rows
    that have no such structure."""
    driver = Driver(job, engine)
    names = driver.plan.tables.chosen_structures(name)
    driver.prepare()
    return [driver.structure(each) for each in driver.plan.in_order("structure") if each in names]


def select_pool_rows(
    job: Job, name: str | None = None, *, engine: EngineChoice = "ray"
) -> Iterator[Selected]:
    """Choose the rows of one selection by name, or of all, those first that others come after;
    yield each when it is there. Raises JobError for a name that the job lacks, ContractError where
    what it is chosen by is missing or another choice is stored, PoolError for too few rows."""
    driver = Driver(job, engine)
    names = driver.plan.tables.chosen_selections(name)
    driver.prepare()
    for each in driver.plan.in_order("select"):
        if each in names:
            yield driver.select(each)


def label_pool(
    job: Job,
    name: str,
    *,
    mend: bool = False,
    engine: EngineChoice = "ray",
    part: Part | None = None,
) -> list[LabelSummary]:
    """Write `labels.<name>` over all its pools, doing only what is missing.

    With `mend`, all that is stored is read first, and what is damaged is labelled anew in the next
    generation. With a `part`, this is one of several drivers, and returns when all of them together
    are done. Raises ContractError for another contract, BusyError where another driver is at work
    on it (or on the same part), LabelerError where the labeler raises, RejectedError over the job's
    budget of bad rows, JobError for `mend` with a `part`.
    """
    return list(label_pools(job, name, mend=mend, engine=engine, part=part))


def label_pools(
    job: Job,
    name: str | None = None,
    *,
    mend: bool = False,
    engine: EngineChoice = "ray",
    part: Part | None = None,
) -> Iterator[LabelSummary]:
    """Write one label set by name, or all, as `label_pool` does; yield each when it is there."""
    if mend and part is not None:
        raise JobError(
            "--mend reads all that is stored, and every part would do so. Run `distill label"
            " --mend` without --part, when no part is at work."
        )
    driver = Driver(job, engine, part)
    names = driver.plan.tables.chosen_labels(name)
    driver.prepare(names)
    for each in names:
        yield from driver.label(each, mend=mend)


def train_students(
    job: Job, names: Sequence[str] | None = None, *, engine: EngineChoice = "ray"
) -> list[Trained]:
    """Train the students that are not trained yet: those named, all by default, every variant of a
    sweep.

    Raises JobError for a name that the job lacks, ContractError for labels that are missing or mean
    something else, TrainingError; UnlearnableError, when all others are trained, for those that
    cannot be.
    """
    driver = Driver(job, engine)
    driver.prepare()
    return driver.train(names)


def train_student(job: Job, name: str, *, engine: EngineChoice = "ray") -> list[Trained]:
    """Train one student, every variant of it where it is swept, as `train_students` does."""
    return train_students(job, [name], engine=engine)


def audit_models(
    job: Job, say: Callable[[str], None] = print, *, engine: EngineChoice = "ray"
) -> tuple[AuditResult, GateResult | None]:
    """Find out how well the rows that taught can be told from others, as `[audit]` says; return it
    with what the gate's rules say of it. `say` gets a line for each thing that was found.

    Raises JobError without `[audit]`, ContractError where what is audited is not there, PoolError
    where rows that are to have taught nothing are among those that did.
    """
    from distill.run.audit import audit_job

    driver = Driver(job, engine)
    driver.prepare()
    audit = audit_job(driver, say)
    return audit, with_audit(None, job.gate, audit)


def evaluate_students(job: Job, *, engine: EngineChoice = "ray") -> Evaluation:
    """Judge every label set over the test pool and every student. Raises JobError without
    `[evaluate]`, ContractError where a student or a label set is not there."""
    evaluation, _ = Driver(job, engine).evaluate()
    return evaluation


def write_report(job: Job, *, engine: EngineChoice = "ray") -> str:
    """Write the evaluation as one HTML file; return its URL. Raises as `evaluate_students`, and
    MissingExtraError where the extra `report` is not installed."""
    driver = Driver(job, engine)
    return driver.report(*driver.evaluate())


def export_students(
    job: Job,
    names: Sequence[str] | None = None,
    *,
    onnx: bool = False,
    despite_gate: bool = False,
    engine: EngineChoice = "ray",
) -> list[Exported]:
    """Export students, all by default, with how well they do where the job judges them; with `onnx`
    also for ONNX Runtime.

    Raises JobError for a name that the job lacks, ContractError where a student is not trained,
    LimitError, before anything is written, for students that the gate does not let pass, unless
    they are to leave `despite_gate`.
    """
    # they load torch
    from distill.stages.export.export_students import export_student
    from distill.stages.export.onnx_file import require_onnx_extra

    if onnx:
        require_onnx_extra()
    driver = Driver(job, engine)
    evaluation = None
    if job.evaluate is not None:
        evaluation, _ = driver.evaluate()
    steps = driver.plan.exports(names)
    if evaluation is not None and not despite_gate:
        _require_passed(evaluation, [step.name for step in steps])
    methods = evaluation.methods if evaluation else ()
    return [export_student(step, methods, onnx=onnx, evaluation=evaluation) for step in steps]


def _require_passed(evaluation: Evaluation, students: Sequence[str]) -> None:
    """Refuse students that the gate does not let pass. Raises LimitError."""
    gate = evaluation.gate
    if gate is None:
        return
    keys = [each.key for each in evaluation.methods if each.student in students]
    mine = GateResult(confidence=gate.confidence, results=gate.of(keys))
    if mine.state != PASSED:
        lines = [
            *gate_sentences(mine),
            "Nothing was exported; --despite-gate exports it all the same.",
        ]
        raise LimitError("\n".join(lines))


def preview_labels(job: Job, name: str, rows: int, *, engine: EngineChoice = "ray") -> Preview:
    """Ask `labels.<name>` about the first rows of its first pool, in this process, before anything
    is paid for. Raises DistillError."""
    driver = Driver(job, engine)
    driver.plan.tables.chosen_labels(name)
    if isinstance(job.labels[name].labeler, Pate):
        raise JobError(
            f"labels.{name}: a look at noisy votes would spend privacy, and without noise would show"
            " private votes. `distill show` looks at label sets of other labelers."
        )
    driver.prepare((name,))
    return preview.preview_labels(driver.plan.preview(name), rows)


def verify_labels(job: Job, name: str | None = None, canaries: int = 0) -> list[Verified]:
    """Prove the invariants on stored label sets, one or all; where they hold, ask the live labeler
    about so many fragments of each again. Raises JobError for a name that the job lacks."""
    plan = Plan(job)
    found = []
    for chosen in plan.tables.chosen_labels(name):
        for step in plan.verifications(chosen):
            verified = verify(step)
            if canaries and not verified.problems:
                live = _canary_problems(plan, chosen, verified.pool, canaries)
                verified = replace(verified, problems=tuple(live))
            found.append(verified)
    return found


def last_runs(job: Job) -> list[Fleet]:
    """Return the runs that did something for the job, the oldest first: what they took, and what
    they lost. Drivers of parts that worked side by side are one."""
    root = Plan(job).workspace.root
    return fleets(read_records(root, job.name))


def status(job: Job) -> list[StatusLine]:
    """Say of each step what is done and what is left. Reads no rows and starts no Ray."""
    return list(job_status(Plan(job).workspace))


def garbage(job: Job, name: str | None = None, *, delete: bool = False) -> list[Garbage]:
    """Find what may go of stored label sets, one or all, and with all of them of structures,
    inventories, former audits and what runs left behind; delete it where asked to. Raises BusyError
    where somebody is at work on one."""
    plan = Plan(job)
    found = [
        collect_garbage(step, delete=delete)
        for chosen in plan.tables.chosen_labels(name)
        for step in plan.stored_labels(chosen)
    ]
    if name is None:
        root = plan.workspace.root
        left = collect_leftovers(root, tuple(job.structure), tuple(job.pools), delete=delete)
        found += [each for each in left if each.keys]
        records = collect_records(root, delete=delete)
        found += [each for each in records if each.keys]
        found += _shadows(plan, delete=delete)
    return found


def _shadows(plan: Plan, *, delete: bool) -> list[Garbage]:
    """What former audits of a job taught; nothing before the one of its rows by now is done."""
    try:
        found = plan.stored_audit()
    except DistillError:  # what would be audited is not there, so nothing is known to be former
        return []
    if found is None:
        return []
    audit = AuditPlan(plan.workspace).folder.uri.rsplit("/", 1)[1]
    shadows = collect_shadows(plan.workspace.root, audit, found, delete=delete)
    return [shadows] if shadows.keys else []


def _canary_problems(plan: Plan, name: str, pool: str, fragments: int) -> list[str]:
    """Where the live labeler says something else than is stored, or why it cannot be asked."""
    if isinstance(plan.tables.labels[name].labeler, Pate):
        log.info("labels.%s: noisy votes are not asked again: each answer spends privacy", name)
        return []
    try:
        step = plan.whole_labels(name, pool)
        return canary.check_canaries(step, step.parts[0], fragments)
    except DistillError as error:
        return [f"the live labeler cannot be asked: {error} `--canaries 0` leaves it out."]
