"""Votes that rows of a group share: which label sets say both, and where the groups' means lie."""

from __future__ import annotations

from collections.abc import Sequence

from distill.core.schema import digest
from distill.loader.grouped_votes import GroupedVotes
from distill.plan.workspace import Workspace
from distill.spec.labels import Pooled
from distill.storage.base import Storage


def grouped_votes(workspace: Workspace, table: Pooled, pools: Sequence[str]) -> GroupedVotes:
    """Return what a pooling labeler sees of pools. Raises ContractError where rows of them are not
    labelled yet, or the labels mean something else."""
    # imported here: it asks what label sets mean, of which this is one
    from distill.plan.label_values import label_values

    votes = label_values(workspace, table.votes_of, pools)
    groups = label_values(workspace, table.groups_of, pools)
    return GroupedVotes(votes, groups)


def pooled_folder(workspace: Workspace, name: str, values: GroupedVotes) -> Storage:
    """Return where the means of `labels.<name>` are kept."""
    inputs = pooled_revision(values)
    identity = digest(inputs)
    return workspace.root_of(f"labels.{name}").folder("pooled", name, identity[:16])


def pooled_revision(values: GroupedVotes) -> list[object]:
    """Return what decides the means, plain as JSON."""
    both = (values.votes, values.groups)
    return [[each.contract.digest, [labels.label_hash for labels in each.sets]] for each in both]
