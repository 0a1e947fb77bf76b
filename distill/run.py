"""The chain of stages. Each does only what is unfinished, so running again is how one resumes.

Stages meet as objects in storage alone. A plan says what each has to do (`distill.plan.plan`); this
module decides their order, hands each its step and an engine, and nothing else. The functions are
what the command calls and what a program may call; `engine` is "ray" (the default), "local" (this
process alone), or an engine of your own. Importing it loads neither torch nor ray.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from distill.core.errors import DistillError
from distill.core.results import Evaluation, MethodResult
from distill.engine.protocol import Engine
from distill.engine.select import EngineChoice, engine_of
from distill.job.job import Job
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
from distill.stages.select.measure_round import measure_line, measure_round
from distill.stages.select.select_rows import Selected, select_rows
from distill.stages.structure.drift import drift_line, measure_drift
from distill.stages.structure.fit_structure import fit_structure
from distill.stages.structure.look import look_at
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
    beyond: tuple[str, ...] = ()
    """What came out beyond a limit that the job sets, a sentence each."""


def run_job(job: Job, say: Say = print, *, engine: EngineChoice = "ray") -> Finished:
    """Run all stages, in order; `say` gets a line for each thing that is there. Raises
    DistillError."""
    if job.evaluate is not None:
        report.require_report_extra()
    chosen, plan = engine_of(engine), Plan(job)
    _prepare(plan, chosen, job.labels)
    judged = _run_once(plan, say, chosen)
    while judged is not None and _next_round(plan, judged[0], say):
        plan = Plan(job)  # pools have grown
        _prepare(plan, chosen)
        judged = _run_once(plan, say, chosen)
    beyond = tuple(_drifts(plan, say, chosen))
    if judged is None:
        return Finished(None, None, beyond)
    evaluation, folder = judged
    return Finished(evaluation, report.write_report(folder, evaluation), beyond)


def _drifts(plan: Plan, say: Say, engine: Engine) -> Iterator[str]:
    """Tell how far watched pools drifted, and yield what of it is too far."""
    for step in plan.drifts():
        drift = measure_drift(step, engine)
        line = drift_line(step, drift)
        say(line)
        if step.most is not None and drift.index > step.most:
            yield f"{line}. Look at those rows, and fit the structure on rows like them."


def _run_once(plan: Plan, say: Say, engine: Engine) -> tuple[Evaluation, Storage] | None:
    """Make and train all, and judge it where the job says on which rows."""
    for batch in plan.working_order():
        for line in _WORK[batch.kind](plan, batch.names, engine):
            say(line)
    for trained in train_networks(plan.students(), engine):
        say(trained_line(trained))
    return None if plan.tables.evaluate is None else _evaluate(plan, engine)


def _next_round(plan: Plan, evaluation: Evaluation, say: Say) -> bool:
    """Keep what the rounds of selections were worth; whether any is to have another one."""
    for step in plan.rounds_to_measure():
        say(measure_line(step, measure_round(step, evaluation)))
    return plan.has_round_due()


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


def fit_structures(
    job: Job, name: str | None = None, *, engine: EngineChoice = "ray"
) -> list[Trained]:
    """Fit one structure by name, or all, those first that others stand on. Raises JobError for a
    name that the job lacks, ContractError where what it is fitted on is missing, PoolError for rows
    that have no such structure."""
    chosen, plan = engine_of(engine), Plan(job)
    names = plan.tables.chosen_structures(name)
    _prepare(plan, chosen)
    in_order = [each for batch in plan.working_order() for each in batch.names_of("structure")]
    return [fit_structure(plan.structure(each), chosen) for each in in_order if each in names]


def select_pool_rows(
    job: Job, name: str | None = None, *, engine: EngineChoice = "ray"
) -> Iterator[Selected]:
    """Choose the rows of one selection by name, or of all, those first that others come after;
    yield each when it is there. Raises JobError for a name that the job lacks, ContractError where
    what it is chosen by is missing or another choice is stored, PoolError for too few rows."""
    chosen, plan = engine_of(engine), Plan(job)
    names = plan.tables.chosen_selections(name)
    _prepare(plan, chosen)
    for batch in plan.working_order():
        if batch.kind == "select":
            for each in batch.names:
                if each in names:
                    yield _select(plan, each, chosen)


def label_pool(
    job: Job, name: str, *, mend: bool = False, engine: EngineChoice = "ray"
) -> list[LabelSummary]:
    """Write `labels.<name>` over all its pools, doing only what is missing.

    With `mend`, all that is stored is read first, and what is damaged is labelled anew in the next
    generation. Raises ContractError for another contract, BusyError where another driver is at work
    on it, LabelerError where the labeler raises, RejectedError over the job's budget of bad rows.
    """
    return list(label_pools(job, name, mend=mend, engine=engine))


def label_pools(
    job: Job, name: str | None = None, *, mend: bool = False, engine: EngineChoice = "ray"
) -> Iterator[LabelSummary]:
    """Write one label set by name, or all, as `label_pool` does; yield each when it is there."""
    chosen, plan = engine_of(engine), Plan(job)
    names = plan.tables.chosen_labels(name)
    _prepare(plan, chosen, names)
    for each in names:
        yield from _label(plan, each, chosen, mend=mend)


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
    if details.get("left_out"):
        line += f", {details['left_out']:,} unusable rows left out"
    history = details.get("history") or [{}]
    unknown = max((1 - share for share in history[-1].get("known", [])), default=0.0)
    if unknown > 0:
        line += f", {100 * unknown:.2g}% of rows unknown to a term"
    return line


def selection_line(selected: Selected) -> str:
    """Say one selection in a line; near-duplicates that were left out are told."""
    method = selected.rounds[-1].method["kind"]
    when = "chosen now" if selected.now else "done before"
    line = (
        f"select.{selected.name}: {selected.rows:,} of {selected.pool_rows:,} rows by {method},"
        f" {when}"
    )
    duplicates = selected.duplicates
    return f"{line}, {duplicates:,} near-duplicates left out" if duplicates else line


def labels_line(summary: LabelSummary) -> str:
    """Say one finished label set in a line that reconciles its rows."""
    now = f"{summary.labelled_now} labelled now" if summary.labelled_now else "done before"
    return (
        f"labels.{summary.name} over {summary.pool}: {summary.rows:,} rows in ="
        f" {summary.labelled:,} labelled + {summary.rejected:,} rejected;"
        f" {summary.fragments} fragments ({now}), {summary.bytes / summary.rows:.1f} bytes a row"
    )


def _prepare(plan: Plan, engine: Engine, labels: Iterable[str] = ()) -> None:
    for pool in plan.pools_to_make():
        make_pool(pool)
    plan.list_pools(file_stats_reader(engine))
    plan.check_inputs()
    for model in plan.models_to_make(labels):
        make_model(model)


def _fit_lines(plan: Plan, names: Sequence[str], engine: Engine) -> Iterator[str]:
    yield from map(trained_line, _fit(plan, names, engine))


def _structure_lines(plan: Plan, names: Sequence[str], engine: Engine) -> Iterator[str]:
    for name in names:
        yield trained_line(fit_structure(plan.structure(name), engine))


def _select_lines(plan: Plan, names: Sequence[str], engine: Engine) -> Iterator[str]:
    for name in names:
        yield selection_line(_select(plan, name, engine))


def _select(plan: Plan, name: str, engine: Engine) -> Selected:
    selected = select_rows(plan.selection(name), engine)
    plan.know_selection(name)
    return selected


def _label_lines(plan: Plan, names: Sequence[str], engine: Engine) -> Iterator[str]:
    for name in names:
        yield from map(labels_line, _label(plan, name, engine, trains=True))


_WORK: Mapping[str, Callable[[Plan, Sequence[str], Engine], Iterator[str]]] = {
    "fit": _fit_lines,
    "structure": _structure_lines,
    "select": _select_lines,
    "labels": _label_lines,
}
"""How `run_job` makes things of one kind, by the first part of their keys; a line for each."""


def _fit(plan: Plan, names: Sequence[str] | None, engine: Engine) -> list[Trained]:
    networks = train_networks(plan.trained_fits(names), engine)
    return networks + [fit_labeler(step, engine) for step in plan.fits(names)]


def _label(
    plan: Plan, name: str, engine: Engine, *, mend: bool = False, trains: bool = False
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
    summaries = label.label_pool(plan.labels(name, mending=mend), engine, mend=mend, begin=begin)
    for summary in summaries:
        plan.know_labels(summary.pool, summary.labels)
    return summaries


def _evaluate(plan: Plan, engine: Engine) -> tuple[Evaluation, Storage]:
    step = plan.evaluation()
    for hint in plan.new_hints():
        log.info("%s: a width of its own makes a head a hint, which is not judged", hint)
    evaluation = evaluate.evaluate_students(step, engine)
    structures = tuple(look_at(look, engine) for look in plan.looks())
    return replace(evaluation, structures=structures), open_storage(step.folder)


def _canary_problems(plan: Plan, name: str, pool: str, fragments: int) -> list[str]:
    """Where the live labeler says something else than is stored, or why it cannot be asked."""
    try:
        step = plan.whole_labels(name, pool)
        return canary.check_canaries(step, step.parts[0], fragments)
    except DistillError as error:
        return [f"the live labeler cannot be asked: {error} `--canaries 0` leaves it out."]
