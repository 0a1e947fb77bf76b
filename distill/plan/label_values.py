"""A label set's values as what a structure or another labeler sees."""

from __future__ import annotations

from collections.abc import Sequence

from distill.loader.label_values import LabelValues
from distill.plan.labelers import prepare_labels
from distill.plan.workspace import Workspace


def label_values(workspace: Workspace, name: str, pools: Sequence[str]) -> LabelValues:
    """Return the values of `labels.<name>` over some of its pools. Raises ContractError where rows
    of them are not labelled yet, or the labels mean something else."""
    _, contract = prepare_labels(workspace, name)
    sets = [workspace.whole_labels(name, workspace.pool(pool), contract) for pool in pools]
    return LabelValues(contract, tuple(sets))
