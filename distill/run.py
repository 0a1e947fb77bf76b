"""The chain of stages. Each does only what is unfinished, so running again is how one resumes.

Stages meet as objects in storage alone. A plan says what each has to do (`distill.plan.plan`); this
module decides their order, hands each its step and an engine, and nothing else. The functions are
what the command calls and what a program may call; `engine` is "ray" (the default), "local" (this
process alone), or an engine of your own. Importing it loads neither torch nor ray.

With a `part`, this process is one of several drivers that share nothing but the root
(`distill.labels.parts`). Of what is to be done once, pools, inventories, models, fits and
calibrations are made by the driver that comes first, while the others wait; all label, until every
fragment is committed; students, evaluation and report are part 0's, and the others leave.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from distill.core.errors import DistillError, JobError
from distill.core.results import Evaluation, MethodResult
from distill.engine.protocol import Engine
from distill.engine.select import EngineChoice, engine_of
from distill.job.job import Job
from distill.labels.lease import go_first_or_wait, wait_while_busy
from distill.labels.parts import Part
from distill.labels.roll_up import roll_up
from distill.models.record import Trained
from distill.plan.plan import Plan
from distill.plan.status import StatusLine, job_status
from distill.stages.evaluate import evaluate_students as evaluate
from distill.stages.fit import fit_labeler
from distill.stages.gc import Garbage, collect_garbage
from distill.stages.inventory import file_stats_reader
from distill.stages.label import calibrate, canary, preview
from distill.stages.label import label_pool as label
from distill.stages.label.label_pool import LabelSummary
from distill.stages.label.preview import Preview
from distill.stages.make_models import make_model
from distill.stages.make_pools import make_pool
from distill.stages.report import write_report as report
from distill.stages.train.train_students import train_networks
from distill.stages.verify import Verified
from distill.stages.verify import verify_labels as verify
from distill.storage.base import Storage
from distill.storage.open import open_storage

if TYPE_CHECKING:
    from distill.stages.export.export_students import Exported

log = logging.getLogger(__name__)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Finished:
    """What a whole job came to."""

    evaluation: Evaluation | None
    report: str | None
    """URL of the report."""


def run_job(
    job: Job, say: Say = print, *, engine: EngineChoice = "ray", part: Part | None = None
) -> Finished:
    """Run all stages, in order; `say` gets a line for each thing that is there. As the driver of a
    `part` other than the first, leave when all is labelled. Raises DistillError."""
    if job.evaluate is not None:
        report.require_report_extra()
    chosen, plan = engine_of(engine), Plan(job)
    _prepare(plan, chosen, job.labels, part)
    for trained in _fit(plan, None, chosen, part):
        say(trained_line(trained))
    trains = part is None or part.is_first
    for name in job.labels:
        for summary in _label(plan, name, chosen, trains=trains, part=part):
            say(labels_line(summary))
    if not trains:
        say(f"Part {part} is done: students, evaluation and report are part 0's.")
        return Finished(None, None)
    for trained in train_networks(plan.students(), chosen):
        say(trained_line(trained))
    if job.evaluate is None:
        return Finished(None, None)
    evaluation, folder = _evaluate(plan, chosen)
    return Finished(evaluation, report.write_report(folder, evaluation))


def prepare_inputs(job: Job, labels: Iterable[str] = (), *, engine: EngineChoice = "ray") -> None:
    """Make the pools that the job makes itself, list all, refuse what cannot be read or trained, and
    make the models of those label sets, before any work. Raises DistillError."""
    _prepare(Plan(job), engine_of(engine), labels)


def fit_labelers(
    job: Job, names: Sequence[str] | None = None, *, engine: EngineChoice = "ray"
) -> list[Trained]:
    """Fit labelers, all by default: networks by gradients, in one worker group; the others by
    passes. Raises DistillError."""
    chosen, plan = engine_of(engine), Plan(job)
    _prepare(plan, chosen)
    return _fit(plan, names, chosen)


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
    chosen, plan = engine_of(engine), Plan(job)
    names = plan.tables.chosen_labels(name)
    _prepare(plan, chosen, names, part)
    for each in names:
        yield from _label(plan, each, chosen, mend=mend, part=part)


def train_students(
    job: Job, names: Sequence[str] | None = None, *, engine: EngineChoice = "ray"
) -> list[Trained]:
    """Train the students that are not trained yet: those named, all by default, every variant of a
    sweep.

    Raises JobError for a name that the job lacks, ContractError for labels that are missing or mean
    something else, TrainingError; UnlearnableError, when all others are trained, for those that
    cannot be.
    """
    chosen, plan = engine_of(engine), Plan(job)
    _prepare(plan, chosen)
    return train_networks(plan.students(names), chosen)


def train_student(job: Job, name: str, *, engine: EngineChoice = "ray") -> list[Trained]:
    """Train one student, every variant of it where it is swept, as `train_students` does."""
    return train_students(job, [name], engine=engine)


def evaluate_students(job: Job, *, engine: EngineChoice = "ray") -> Evaluation:
    """Judge every label set over the test pool and every student. Raises JobError without
    `[evaluate]`, ContractError where a student or a label set is not there."""
    evaluation, _ = _evaluate(Plan(job), engine_of(engine))
    return evaluation


def write_report(job: Job, *, engine: EngineChoice = "ray") -> str:
    """Write the evaluation as one HTML file; return its URL. Raises as `evaluate_students`, and
    MissingExtraError where the extra `report` is not installed."""
    evaluation, folder = _evaluate(Plan(job), engine_of(engine))
    return report.write_report(folder, evaluation)


def export_students(
    job: Job,
    names: Sequence[str] | None = None,
    *,
    onnx: bool = False,
    engine: EngineChoice = "ray",
) -> list[Exported]:
    """Export students, all by default, with how well they do where the job judges them; with `onnx`
    also for ONNX Runtime.

    Raises JobError for a name that the job lacks, ContractError where a student is not trained.
    """
    # they load torch
    from distill.stages.export.export_students import export_student
    from distill.stages.export.onnx_file import require_onnx_extra

    if onnx:
        require_onnx_extra()
    plan = Plan(job)
    methods: Sequence[MethodResult] = ()
    if job.evaluate is not None:
        evaluation, _ = _evaluate(plan, engine_of(engine))
        methods = evaluation.methods
    return [export_student(step, methods, onnx=onnx) for step in plan.exports(names)]


def preview_labels(job: Job, name: str, rows: int, *, engine: EngineChoice = "ray") -> Preview:
    """Ask `labels.<name>` about the first rows of its first pool, in this process, before anything
    is paid for. Raises DistillError."""
    plan = Plan(job)
    plan.tables.chosen_labels(name)
    _prepare(plan, engine_of(engine), (name,))
    return preview.preview_labels(plan.preview(name), rows)


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


def status(job: Job) -> list[StatusLine]:
    """Say of each step what is done and what is left. Reads no rows and starts no Ray."""
    return list(job_status(Plan(job).workspace))


def garbage(job: Job, name: str | None = None, *, delete: bool = False) -> list[Garbage]:
    """Find what may go of stored label sets, one or all, and delete it where asked to. Raises
    BusyError where somebody is at work on one."""
    plan = Plan(job)
    return [
        collect_garbage(step, delete=delete)
        for chosen in plan.tables.chosen_labels(name)
        for step in plan.stored_labels(chosen)
    ]


def trained_line(trained: Trained) -> str:
    """Say one finished model in a line; rows that one of its terms does not know (rejected ones)
    are told."""
    details = trained.record.details
    when = "trained now" if trained.now else "done before"
    line = f"{trained.name}: {trained.record.parameters:,} parameters, {when}"
    if details.get("best_epoch"):
        line += f", stopped after epoch {details['epochs']}, epoch {details['best_epoch']} is kept"
    history = details.get("history") or [{}]
    unknown = max((1 - share for share in history[-1].get("known", [])), default=0.0)
    if unknown > 0:
        line += f", {100 * unknown:.2g}% of rows unknown to a term"
    return line


def labels_line(summary: LabelSummary) -> str:
    """Say one finished label set in a line that reconciles its rows."""
    now = f"{summary.labelled_now} labelled now" if summary.labelled_now else "done before"
    return (
        f"labels.{summary.name} over {summary.pool}: {summary.rows:,} rows in ="
        f" {summary.labelled:,} labelled + {summary.rejected:,} rejected;"
        f" {summary.fragments} fragments ({now}), {summary.bytes / summary.rows:.1f} bytes a row"
    )


def _prepare(
    plan: Plan, engine: Engine, labels: Iterable[str] = (), part: Part | None = None
) -> None:
    names = list(labels)

    def prepare() -> None:
        for pool in plan.pools_to_make():
            make_pool(pool)
        plan.list_pools(file_stats_reader(engine))
        plan.check_inputs()
        for model in plan.models_to_make(names):
            make_model(model)

    if part is None:
        prepare()
    else:
        # else each part reads the footers of all files
        lease = plan.workspace.root.folder("making", "inputs")
        go_first_or_wait(lease, "listing the pools", prepare)


def _fit(
    plan: Plan, names: Sequence[str] | None, engine: Engine, part: Part | None = None
) -> list[Trained]:
    def train() -> list[Trained]:
        return train_networks(plan.trained_fits(names), engine)

    networks = train() if part is None else wait_while_busy(train)
    return networks + [fit_labeler(step, engine) for step in plan.fits(names)]


def _label(
    plan: Plan,
    name: str,
    engine: Engine,
    *,
    mend: bool = False,
    trains: bool = False,
    part: Part | None = None,
) -> list[LabelSummary]:
    """Label what is missing; where the same command `trains` on it, not before it is sure that the
    engine can."""
    calibration = plan.calibration(name)
    if calibration is not None:
        calibrate.calibrate(calibration, engine)

    def require_trainings(pools: Collection[str]) -> None:
        for needs in plan.later_trainings(name, pools):
            engine.require(needs)

    begin = require_trainings if trains else None
    if part is not None:
        _roll_up(plan, name)
    step = plan.labels(name, mending=mend)
    summaries = label.label_pool(step, engine, mend=mend, begin=begin, part=part)
    for summary in summaries:
        plan.know_labels(summary.pool, summary.labels)
    return summaries


def _roll_up(plan: Plan, name: str) -> None:
    """Have one driver read the commits that no manifest has, before all read what is stored."""
    for stored in plan.stored_labels(name):
        folder = open_storage(stored.folder)
        inventory = plan.workspace.inventory(stored.pool)
        what = f"labels.{name} over {stored.pool}"
        roll_up(folder, name, stored.version, inventory, what=what)


def _evaluate(plan: Plan, engine: Engine) -> tuple[Evaluation, Storage]:
    step = plan.evaluation()
    for hint in plan.new_hints():
        log.info("%s: a width of its own makes a head a hint, which is not judged", hint)
    return evaluate.evaluate_students(step, engine), open_storage(step.folder)


def _canary_problems(plan: Plan, name: str, pool: str, fragments: int) -> list[str]:
    """Where the live labeler says something else than is stored, or why it cannot be asked."""
    try:
        step = plan.whole_labels(name, pool)
        return canary.check_canaries(step, step.parts[0], fragments)
    except DistillError as error:
        return [f"the live labeler cannot be asked: {error} `--canaries 0` leaves it out."]
