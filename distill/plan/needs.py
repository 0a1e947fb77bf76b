"""What trainings will ask of an engine, known before the labels that they learn from are there."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from distill.engine.protocol import TrainingNeeds
from distill.models.record import HeadPlan, NetworkPlan
from distill.plan.pretrained import student_with_files
from distill.plan.widths import head_widths, seen_width
from distill.plan.workspace import Workspace
from distill.spec.models import Training, worker_range
from distill.spec.students import Student

_FLOAT_BYTES = 4
# numbers a weight: itself, its gradient, and the optimizer's moments
_COPIES = {"adamw": 4, "sgd": 2}


def later_trainings(
    workspace: Workspace, labels: str, pools: Collection[str]
) -> Iterator[TrainingNeeds]:
    """Yield what students ask for that learn from `labels.<labels>` over any of those pools, or are
    stopped by it."""
    for variant in workspace.tables.job.variants:
        student = variant.spec
        if not _pools_read(student, labels).isdisjoint(pools):
            key = f"students.{variant.student}"
            plan = network_plan(workspace, student, key)
            yield training_needs(key, plan, student.training)


def training_needs(key: str, plan: NetworkPlan, training: Training) -> TrainingNeeds:
    """Return what the training of a network asks for; `key` is its table."""
    _, workers = worker_range(training.workers)
    # with `lanes` memory holds one lane at a time, else a worker's share of a batch
    parts = training.lanes if training.gradients == "lanes" else workers
    part_rows = training.batch_rows // parts
    batch = part_rows * plan.in_features
    numbers = plan.weights * _COPIES[training.optimizer] + plan.frozen + batch
    return TrainingNeeds(key, training.workers, training.gpus, plan.weights, numbers * _FLOAT_BYTES)


def _pools_read(student: Student, labels: str) -> set[str]:
    pools: set[str] = set()
    if any(term.label_set == labels for term in student.terms):
        pools.update(student.on)
    if student.features is not None and student.features.label_set == labels:
        pools.update(student.pools)
    stop = student.early_stop
    if stop is not None and stop.label_set == labels:
        over = str(stop.over)
        pools.add(over)
    return pools


def network_plan(workspace: Workspace, student: Student, where: str) -> NetworkPlan:
    """Return the network as it will be built, without the code of the user's own; `where` is its
    key. Raises ContractError, PoolError, JobError where a model is missing."""
    student = student_with_files(workspace.tables, student, where)
    widths = head_widths(workspace, student, where)
    heads = {}
    for name in student.head_names:
        own = student.heads[name].model if name in student.heads else None
        heads[name] = HeadPlan(widths[name], own)
    ngrams = student.model.text_hashing
    in_features = ngrams.most if ngrams else seen_width(workspace, student)
    return NetworkPlan(in_features, student.model, heads)
