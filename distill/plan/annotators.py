"""How the parties of a merge are known by their votes."""

from __future__ import annotations

from distill.core.errors import ContractError
from distill.models.record import read_record
from distill.plan.merges import annotators_folder, merge_outputs, merged_values
from distill.plan.steps import AnnotatorsStep
from distill.plan.workspace import Workspace


def annotators_step(workspace: Workspace, name: str) -> AnnotatorsStep | None:
    """Return what finds how often the parties of `labels.<name>` err; None where nothing asks.
    Raises ContractError, as `merged_values`."""
    labels = workspace.tables.labels[name]
    merge = labels.merge
    if merge is None or merge.by != "dawid_skene":
        return None
    pools = [workspace.pool(each) for each in labels.over]
    values = [merged_values(workspace, name, merge, pool.name) for pool in pools]
    parties = [party.name for party in values[0].parties]
    if any([party.name for party in each.parties] != parties for each in values):
        raise ContractError(
            f"labels.{name}: other parties labelled one pool than another. Write a label set of"
            " each pool."
        )
    folder = annotators_folder(workspace, name, merge, values)
    outputs, _ = merge_outputs(workspace.tables, merge, f"labels.{name}.labeler")
    return AnnotatorsStep(
        name,
        folder.uri,
        read_record(folder),
        tuple(parties),
        tuple(values),
        tuple(pool.inventory for pool in pools),
        outputs,
        merge.passes,
        merge.tolerance,
        labels.key,
    )
