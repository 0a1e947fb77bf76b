"""What a short trial of a network, or of reading, is asked and says. `distill.stages.trials` does
it; a plan without one knows of trainings only what was trained before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from distill.loader.dataset import Dataset
from distill.models.record import NetworkPlan
from distill.plan.needs import network_plan
from distill.plan.pretrained import student_with_files
from distill.plan.workspace import Workspace
from distill.spec.students import Student


@dataclass(frozen=True)
class NetworkTrial:
    """A network to be tried on random numbers."""

    key: str  # of the student or fit that has it
    plan: NetworkPlan
    batch_rows: int  # rows of a step
    optimizer: str
    # some of the pool's, for a network that reads tokens: their length decides what a step takes
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tried:
    """What trials took, in seconds, each round for itself."""

    # of a training step, by the network's key
    steps: Mapping[str, Sequence[float]] = field(default_factory=dict)
    # of a row that is answered, by the network's key
    rows: Mapping[str, Sequence[float]] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)  # by the network's key
    # of a row that is read and decoded, by the pool
    reading: Mapping[str, Sequence[float]] = field(default_factory=dict)


def network_trial(
    workspace: Workspace, key: str, student: Student, where: str, *, is_fit: bool = False
) -> NetworkTrial:
    """Return the trial of one student's or fit's network. Raises DistillError where it cannot be
    built before what it sees is there."""
    tables = workspace.tables
    student = student_with_files(tables, student, where)
    plan = network_plan(workspace, student, where)
    code = tables.fit_code(where.removeprefix("fit.")) if is_fit else None
    if code is None:
        code = tables.student_code(student, where)
    plan = NetworkPlan(plan.in_features, plan.model, plan.heads, code)
    training = student.training
    texts: tuple[str, ...] = ()
    if plan.model.text_tokens is not None:
        pool = workspace.pool(tables.base_pool(student.taught_on[0]))
        texts = tuple(pool.first_seen().tolist())
    return NetworkTrial(key, plan, training.batch_rows, training.optimizer, texts)


def reading_trials(workspace: Workspace, pools: Sequence[str]) -> Iterator[tuple[str, Dataset]]:
    """Yield what is read of each pool that was listed, as a network sees it."""
    for name in pools:
        pool = workspace.pool(name)
        if pool.inventory.rows:
            yield name, Dataset((pool.inventory,), pool.seen_features, pool.width)
