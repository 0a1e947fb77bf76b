"""A label set's values as what a structure, a student, a fit or another labeler sees."""

from __future__ import annotations

from collections.abc import Sequence

from distill.loader.label_values import LabelValues
from distill.plan.labelers import prepare_labels
from distill.plan.workspace import Workspace
from distill.pools.open_pool import OpenPool
from distill.spec.models import LabelFeatures
from distill.spec.pools import Features


def features_of(
    workspace: Workspace, features: LabelFeatures | None, pools: Sequence[OpenPool]
) -> tuple[Features | LabelValues, int]:
    """Return what a student or a fit sees of pools, and the numbers in a row of it. Raises
    ContractError, PoolError."""
    if features is None:
        return pools[0].seen_features, pools[0].width
    names = [pool.name for pool in pools]
    values = label_values(workspace, features.label_set, names)
    return values, values.width


def label_values(workspace: Workspace, name: str, pools: Sequence[str]) -> LabelValues:
    """Return the values of `labels.<name>` over some of its pools. Raises ContractError where rows
    of them are not labelled yet, or the labels mean something else."""
    _, contract = prepare_labels(workspace, name)
    sets = [workspace.whole_labels(name, workspace.pool(pool), contract) for pool in pools]
    return LabelValues(contract, tuple(sets))
