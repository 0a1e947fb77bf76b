"""Plans of costs as they are kept, `costs/<job>/<time>.json`, and the newest one beside what all runs
took since and before."""

from __future__ import annotations

import uuid

from distill.core.costs import CostPlan, StepActual, StepCost
from distill.core.schema import seal, unseal
from distill.plan.costs.ledger import StepSpent, read_spent, step_totals
from distill.plan.costs.money import HOUR
from distill.plan.workspace import Workspace
from distill.storage.base import Storage

_FOLDER = "costs"


def keep_costs(root: Storage, plan: CostPlan) -> None:
    """Keep a plan of costs for the report."""
    key = f"{int(plan.planned):011d}-{uuid.uuid4().hex[:8]}.json"
    root.folder(_FOLDER, plan.job).put(key, seal(plan.to_plain()))


def newest_costs(root: Storage, job: str) -> CostPlan | None:
    """Read the newest plan of a job's costs; None where none was made. Raises StorageError."""
    folder = root.folder(_FOLDER, job)
    keys = [entry.key for entry in folder.list_objects() if entry.key.endswith(".json")]
    if not keys:
        return None
    return CostPlan.from_plain(unseal(folder.read(keys[-1]), folder.url(keys[-1])))


def estimate_beside_actual(workspace: Workspace) -> tuple[StepActual, ...]:
    """Return what the newest plan said of each step and what it took; nothing where there is none.
    Raises StorageError."""
    plan = newest_costs(workspace.root, workspace.tables.job.name)
    if plan is None:
        return ()
    spent = step_totals(read_spent(workspace.root))
    return tuple(
        _beside(workspace, step, spent.get(step.step, StepSpent()))
        for step in plan.steps
        if step.whole_worker_hours is not None
    )


def _beside(workspace: Workspace, step: StepCost, spent: StepSpent) -> StepActual:
    # passes over a pool count by the clock
    seconds = spent.worker_seconds or spent.wall_seconds
    kind, _, name = step.step.partition(".")
    stored = 0
    if kind == "labels":
        for pool in workspace.tables.labels[name].over:
            stored += workspace.label_set(name, pool).entries.size_bytes
    whole_bytes = step.whole_bytes if kind == "labels" else None
    return StepActual(step.step, step.whole_worker_hours, seconds / HOUR, whole_bytes, stored)
