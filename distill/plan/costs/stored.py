"""Plans of costs as they are kept, `costs/<job>/<time>.json`, and the newest one beside what all
runs took, before it and since."""

from __future__ import annotations

import uuid

from distill.core.account import StepSpent, add_up
from distill.core.costs import CostPlan, StepActual, StepCost
from distill.core.schema import seal, unseal
from distill.plan.costs.ledger import price_of, read_spent, step_totals
from distill.plan.former import former_objects
from distill.plan.workspace import Workspace
from distill.storage.base import Storage

_FOLDER = "costs"


def keep_costs(root: Storage, plan: CostPlan) -> None:
    """Keep a plan of costs for the report."""
    second = int(plan.planned)
    # keys in the order of time; of two plans in one second either is the newest
    key = f"{second:011d}-{uuid.uuid4().hex[:8]}.json"
    plain = plan.to_plain()
    root.folder(_FOLDER, plan.job).put(key, seal(plain))


def newest_costs(root: Storage, job_name: str) -> CostPlan | None:
    """Read the newest plan of a job's costs; None where none was made. Raises StorageError."""
    folder = root.folder(_FOLDER, job_name)
    keys = [entry.key for entry in folder.list_objects() if entry.key.endswith(".json")]
    if not keys:
        return None
    newest = keys[-1]
    content = folder.read(newest)
    where = folder.url(newest)
    plain = unseal(content, where)
    return CostPlan.from_plain(plain)


def former_costs(root: Storage) -> list[tuple[str, int]]:
    """Return keys and sizes of all plans that a newer one of the same job stands for: it has what
    they said of steps that are done."""
    return former_objects(root, _FOLDER)


def estimate_beside_actual(workspace: Workspace) -> tuple[StepActual, ...]:
    """Return what the newest plan said of each step and what it took; nothing where there is none.
    Raises StorageError."""
    plan = newest_costs(workspace.root, workspace.tables.job.name)
    if plan is None:
        return ()
    runs = read_spent(workspace.root)
    spent = step_totals(runs)
    found = []
    for step in plan.steps:
        if step.expected_worker_hours is not None:
            took = spent.get(step.step, StepSpent())
            found.append(_beside(workspace, step, took))
    return tuple(found)


def _beside(workspace: Workspace, step: StepCost, spent: StepSpent) -> StepActual:
    kind, _, name = step.step.partition(".")
    stored = 0
    if kind == "labels":
        for pool in workspace.tables.labels[name].over:
            stored += workspace.label_set(name, pool).entries.size_bytes
    planned_bytes = step.expected_bytes if kind == "labels" else None
    cost = add_up([spent], price_of(workspace.tables.job.prices))
    return StepActual(
        step=step.step,
        worker_hours=step.expected_worker_hours,
        spent_worker_hours=cost.worker_hours,
        bytes=planned_bytes,
        spent_bytes=stored,
        spent_gpu_hours=cost.gpu_hours,
        spent_dollars=cost.dollars,
    )
