"""What trainings will take, by a trial of some steps on random numbers; and what a student takes to
answer a million rows, as it was evaluated, or else by a trial.

A trial has no labels and no reader, so its range is wide: from its fastest step to half as much
again as its slowest, each row read once an epoch beside, and each worker's process started, but for
short fits (`distill.plan.short`), which start none. It is made on one CPU thread, as a training
worker works there; of a GPU it says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from distill.core.costs import NOTHING, Range, RowCost, StepCost
from distill.core.errors import DistillError
from distill.job.sweep import Variant
from distill.models.record import ModelRecord, read_record
from distill.plan.costs.money import HOUR, WorkerKind
from distill.plan.costs.ranges import COLD_SECONDS
from distill.plan.costs.setting import Setting
from distill.plan.costs.trials import NetworkTrial, network_trial
from distill.plan.datasets import pool_groups
from distill.plan.held_out import fit_student, usual_loss
from distill.plan.identity import fit_folder, student_folder, student_pins
from distill.plan.needs import network_plan, training_needs
from distill.plan.short import is_usual, steps_are_few, training_uses
from distill.plan.workspace import Workspace
from distill.spec.base import Gpus
from distill.spec.models import Eszsl, worker_range
from distill.spec.students import Student
from distill.storage.base import Storage

# by how much a step of a training takes longer than one of a trial: losses, labels, waiting
_SLOWER = 1.5
_MILLION = 1e6
_FLOAT_BYTES = 4
_CHECKPOINTS = 2
_MOMENTS = {"adamw": 2, "sgd": 0}
_ON_A_GPU = "a trial of it on a GPU is not made"
_NOT_TRIED = "no trial of it was made"


@dataclass(frozen=True)
class _Training:
    """What is trained by gradients: a fit, or a variant of a student."""

    key: str
    student: Student
    where: str  # its key in the job file
    folder: Callable[[], Storage]

    @property
    def is_fit(self) -> bool:
        return self.key.startswith("fit.")

    def record(self) -> ModelRecord | None:
        """Read what is stored of it."""
        try:
            return read_record(self.folder())
        except DistillError:  # what it learns is not there yet
            return None


def training_trials(setting: Setting) -> Iterator[NetworkTrial]:
    """Yield the networks that are not trained yet, or not judged, and can be built now."""
    workspace = setting.workspace
    for each in _trainings(setting):
        if each.is_fit and each.record() is not None:
            continue
        try:
            yield network_trial(workspace, each.key, each.student, each.where, is_fit=each.is_fit)
        except DistillError:
            continue  # what it sees is not there yet: its line says so


def training_costs(setting: Setting) -> Iterator[StepCost]:
    """Yield what is left of fits by gradients and of students."""
    trainings = [(each, each.record()) for each in _trainings(setting)]
    left = [each for each, record in trainings if record is None]
    short = _fits_are_short(setting, [each for each in left if each.is_fit])
    for each, record in trainings:
        yield _training_cost(setting, each, record, is_short=short and each.is_fit)


def _fits_are_short(setting: Setting, fits: Sequence[_Training]) -> bool:
    """Whether fits that are left start no worker: all of them together (`trainings_are_short`)."""
    uses = 0
    steps = 0
    for each in fits:
        has_code = setting.workspace.tables.fit_code(each.key.removeprefix("fit."))
        if has_code or not is_usual(each.student.training):
            return False
        try:
            rows, its_steps = _rows_and_steps(setting, each.student)
            network = network_plan(setting.workspace, each.student, each.where)
        except DistillError:  # what it sees is not there yet: it is trained another time
            continue
        uses += training_uses(network, rows)
        steps += its_steps
    return steps_are_few(uses, steps)


def student_rows(setting: Setting) -> Iterator[RowCost]:
    """Yield what a million rows take of each student, on one CPU."""
    tables = setting.workspace.tables
    for variant in tables.job.variants:
        key = f"students.{variant.name}"
        mine = [each for each in setting.evaluated if each.student == variant.name]
        judged = [each.milliseconds_per_row / 1000 for each in mine]
        # on the same rows and beside the teacher: better than any trial
        seconds = judged or list(setting.tried.rows.get(key, ()))
        if not seconds:
            continue
        a_row = Range(min(seconds), max(seconds))
        a_million = a_row.times(_MILLION)
        dollars = setting.dollars(a_million.times(1 / HOUR), WorkerKind())
        yield RowCost(key, "student", a_million, dollars)


def _trainings(setting: Setting) -> Iterator[_Training]:
    workspace = setting.workspace
    tables = workspace.tables
    for name, fit in tables.fit.items():
        if not isinstance(fit.model, Eszsl):
            student = fit_student(fit, usual_loss(tables.pool_outputs(fit.on)))
            key = f"fit.{name}"
            yield _Training(key, student, key, partial(fit_folder, workspace, name))
    for variant in tables.job.variants:
        where = f"students.{variant.student}"
        folder = partial(_student_folder, workspace, variant)
        yield _Training(f"students.{variant.name}", variant.spec, where, folder)


def _student_folder(workspace: Workspace, variant: Variant) -> Storage:
    return student_folder(workspace, variant, student_pins(workspace, variant.spec))


def _training_cost(
    setting: Setting, asked: _Training, record: ModelRecord | None, *, is_short: bool
) -> StepCost:
    key = asked.key
    student = asked.student
    try:
        rows, steps = _rows_and_steps(setting, student)
    except DistillError as error:
        return StepCost(step=key, rows=0, rows_left=0, note=str(error))
    training = student.training
    gpus = _held(training.gpus)
    spent = setting.spent.get(key)
    cost = StepCost(
        step=key,
        rows=rows,
        rows_left=0 if record else rows,
        gpus=gpus,
        spent_worker_hours=spent.hours if spent else 0.0,
    )
    if record is not None:
        return replace(cost, worker_hours=NOTHING, gpu_hours=NOTHING, bytes=NOTHING)
    cost = _with_size(setting, cost, student, asked.where)
    seconds = _seconds(setting, asked, rows, steps, is_short=is_short)
    if seconds is None or gpus:
        note = _ON_A_GPU if gpus else _NOT_TRIED
        return replace(cost, note=note)
    worker_hours = seconds.times(1 / HOUR)
    numbers = _numbers(setting, student)
    return replace(
        cost,
        worker_hours=worker_hours,
        hours={str(number): worker_hours.times(1 / number) for number in numbers},
        gpu_hours=NOTHING,
        dollars=setting.dollars(worker_hours, WorkerKind(1.0, gpus, cost.memory_bytes)),
    )


def _rows_and_steps(setting: Setting, student: Student) -> tuple[int, int]:
    """Rows that all steps together see, and how many steps there are."""
    # about as many: lanes do not end together
    first, *others = pool_groups(student)
    rows = sum(map(setting.workspace.pool_rows, first))
    lanes = student.training.lanes
    lane_rows = student.lane_rows(first)
    step_rows = lanes * lane_rows
    steps = student.training.epochs * max(1, -(-rows // step_rows))
    all_rows = step_rows + sum(lanes * student.lane_rows(group) for group in others)
    return steps * all_rows, steps


def _with_size(setting: Setting, cost: StepCost, student: Student, where: str) -> StepCost:
    """The cost with the bytes that the model takes, in memory and stored."""
    # bytes are known where the network was tried
    weights = setting.tried.parameters.get(cost.step)
    if weights is None:
        return cost
    training = student.training
    model = float(weights * _FLOAT_BYTES)
    checkpoints = _CHECKPOINTS * model * (1 + _MOMENTS.get(training.optimizer, 2))
    plan = network_plan(setting.workspace, student, where)
    needs = training_needs(where, plan, training)
    stored = Range(model, model + checkpoints)
    memory_bytes = float(needs.memory_bytes)
    return replace(cost, memory_bytes=memory_bytes, bytes=stored)


def _seconds(
    setting: Setting, asked: _Training, rows: int, steps: int, *, is_short: bool
) -> Range | None:
    """Seconds of all workers together, as one CPU takes them."""
    tried = setting.tried
    student = asked.student
    rounds = tried.steps.get(asked.key)
    if not rounds:
        return None
    a_row = [max(tried.reading.get(pool, (0.0,))) for pool in student.taught_on]
    reading = max(a_row, default=0.0) * rows
    slowest = _SLOWER * max(rounds) * steps
    most = min(student.training.lanes, max(worker_range(student.training.workers)))
    starts = 0.0 if is_short else most * COLD_SECONDS
    return Range(min(rounds) * steps, slowest + reading + starts)


def _numbers(setting: Setting, student: Student) -> Sequence[int]:
    """Numbers of workers that hours are said for: of those that may train it."""
    training = student.training
    numbers = set(setting.workers or worker_range(training.workers))
    return sorted(number for number in numbers if number <= training.lanes)


def _held(gpus: Gpus) -> float:
    return 0.0 if gpus == "auto" else float(gpus)
