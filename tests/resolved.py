"""What tests ask of a job in one call: its plan is made anew each time, so nothing is remembered
between two calls but what storage holds."""

from __future__ import annotations

from collections.abc import Sequence

from distill.engine.select import engine_of
from distill.job.job import Job
from distill.plan import identity, labelers, training
from distill.plan.candidates import find_candidates as _find_candidates
from distill.plan.checks.network_builds import check_networks_build as _check_networks_build
from distill.plan.checks.pool_files import check_pool_files
from distill.plan.plan import Plan
from distill.plan.status import job_status as _job_status
from distill.plan.tables import JobTables
from distill.plan.workspace import Workspace
from distill.run.stages import _canary_problems
from distill.stages.evaluate.evaluate_students import evaluate_students as _evaluate
from distill.stages.export.export_students import export_student
from distill.stages.fit import fit_labeler as _fit_labeler
from distill.stages.gc import collect_garbage
from distill.stages.inventory import file_stats_reader
from distill.stages.label.calibrate import calibrate as _calibrate
from distill.stages.make_models import make_model
from distill.stages.make_pools import make_pool as _make_pool
from distill.storage.open import open_storage


def open_pool(job: Job, name: str):
    """A pool, listed."""
    return Workspace(job).pool(name)


def check_pools(job: Job) -> None:
    """Refuse pools that lack what the job reads of them."""
    check_pool_files(Workspace(job))


def check_networks_build(job: Job) -> None:
    """Try all networks of the job that may not fit."""
    _check_networks_build(Workspace(job))


def check_inputs(job: Job) -> None:
    """Everything that is checked before work and needs the pools."""
    Plan(job).check_inputs()


def pool_outputs(job: Job, name: str):
    """What a pool's target says."""
    return JobTables(job).pool_outputs(name)


def label_outputs(job: Job, name: str):
    """What a label set says."""
    return JobTables(job).label_outputs(name)


def head_outputs(job: Job, student, head: str):
    """What a head answers."""
    return JobTables(job).head_outputs(student, head)


def student_code(job: Job, student, where: str):
    """Sources of a student's own networks."""
    return JobTables(job).student_code(student, where)


def fit_code(job: Job, name: str):
    """The source of a fit's own network."""
    return JobTables(job).fit_code(name)


def label_set(job: Job, name: str, pool: str):
    """One label set as it is stored now."""
    return Workspace(job).label_set(name, pool)


def label_set_state(job: Job, name: str, pool: str):
    """What is stored of one label set now."""
    return Workspace(job).label_set_state(name, pool)


def whole_labels(job: Job, name: str, pool, contract):
    """One label set, refused where it is not whole or means something else."""
    return Workspace(job).whole_labels(name, pool, contract)


def prepare_labels(job: Job, name: str):
    """Recipe and contract."""
    return labelers.prepare_labels(Workspace(job), name)


def prepare_uncalibrated(job: Job, name: str):
    """The same before calibration."""
    return labelers.prepare_uncalibrated(Workspace(job), name)


def fit_folder(job: Job, name: str):
    """Where a fit lies."""
    return identity.fit_folder(Workspace(job), name)


def find_fit(job: Job, name: str):
    """A finished fit."""
    return identity.find_fit(Workspace(job), name)


def find_student(job: Job, variant):
    """A finished student."""
    return identity.find_student(Workspace(job), variant)


def student_pins(job: Job, student):
    """What a student learns from."""
    return identity.student_pins(Workspace(job), student)


def student_folder(job: Job, variant, pins):
    """Where a student lies."""
    return identity.student_folder(Workspace(job), variant, pins)


def plan_fit(job: Job, name: str):
    """The training of a fit, or its record."""
    return training.plan_fit(Workspace(job), name)


def plan_student(job: Job, variant):
    """The training of a student, or its record."""
    return training.plan_student(Workspace(job), variant)


def find_candidates(job: Job, pool):
    """Who is judged."""
    return _find_candidates(Workspace(job), pool)


def make_pool(job: Job, name: str) -> bool:
    """Make one pool of the job; whether it was made now."""
    steps = [step for step in Plan(job).pools_to_make() if step.name == name]
    return bool(steps) and _make_pool(steps[0])


def make_models(job: Job, names: Sequence[str]) -> None:
    """Make the models of label sets."""
    for step in Plan(job).models_to_make(names):
        make_model(step)


def list_pools(job: Job, engine="ray") -> None:
    """Take all inventories."""
    Plan(job).list_pools(file_stats_reader(engine_of(engine)))


def fit_labeler(job: Job, name: str, engine="ray"):
    """Fit one labeler by passes."""
    (step,) = Plan(job).fits([name])
    return _fit_labeler(step, engine_of(engine))


def find_garbage(job: Job, name: str):
    """What may go of a label set."""
    return [collect_garbage(step, delete=False) for step in Plan(job).stored_labels(name)]


def delete_garbage(job: Job, name: str):
    """What went."""
    return [collect_garbage(step, delete=True) for step in Plan(job).stored_labels(name)]


def calibrate(job: Job, name: str, engine="ray"):
    """The temperature of a label set."""
    step = Plan(job).calibration(name)
    assert step is not None
    return _calibrate(step, engine_of(engine))


def check_canaries(job: Job, name: str, over: str, fragments: int):
    """Where the live labeler says something else than is stored."""
    return _canary_problems(Plan(job), name, over, fragments)


def export_students(job: Job, names=None, results=(), *, onnx: bool = False):
    """Exports, with results as they are given."""
    return [export_student(step, results, onnx=onnx) for step in Plan(job).exports(names)]


def evaluate_students(job: Job, engine="ray"):
    """The folder of an evaluation, and the evaluation."""
    step = Plan(job).evaluation()
    return open_storage(step.folder), _evaluate(step, engine_of(engine))


def job_status(job: Job):
    """What is done and left."""
    return list(_job_status(Workspace(job)))
