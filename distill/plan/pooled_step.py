"""The pass that finds the mean votes of groups, as a step."""

from __future__ import annotations

from distill.models.record import read_record
from distill.plan.pooled import grouped_votes, pooled_folder
from distill.plan.steps import PooledStep
from distill.plan.workspace import Workspace
from distill.spec.labels import Pooled


def pooled_step(workspace: Workspace, name: str) -> PooledStep | None:
    """Return what finds the means of `labels.<name>`; None where it pools nothing. Raises
    ContractError, as `grouped_votes`."""
    labels = workspace.tables.labels[name]
    table = labels.labeler
    if not isinstance(table, Pooled):
        return None
    values = grouped_votes(workspace, table, labels.over)
    folder = pooled_folder(workspace, name, values)
    inventories = tuple(workspace.pool(pool).inventory for pool in labels.over)
    return PooledStep(name, folder.uri, read_record(folder), values, inventories, labels.key)
