"""How much rows count by their group, where `row_weight` is `cluster_balance`: the groups' rows are
counted once, and kept under the root by the labels that say them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distill.labels.label_set import LabelSet
from distill.loader.group_weights import GroupWeights, group_numbers
from distill.loader.sample_weight import group_balancing_weights
from distill.plan.labelers import prepare_labels
from distill.plan.workspace import Workspace
from distill.pools.open_pool import OpenPool
from distill.spec.students import ClusterBalance

Counts = npt.NDArray[np.int64]  # rows of each group


def group_weights(
    workspace: Workspace, spec: ClusterBalance, pools: Sequence[OpenPool]
) -> GroupWeights:
    """Return what a row of each group counts, over all rows of the pools. Raises ContractError
    where one is not labelled."""
    _, contract = prepare_labels(workspace, spec.labels)
    sets = tuple(workspace.whole_labels(spec.labels, pool, contract) for pool in pools)
    counts = _joined([_counts(workspace, labels) for labels in sets])
    return GroupWeights(contract, sets, group_balancing_weights(counts, spec.power))


def _counts(workspace: Workspace, labels: LabelSet) -> Counts:
    counted = ["groups", labels.label_hash]
    counts = workspace.remember("counts", counted, lambda: _count(labels).tolist())
    return np.array(counts, np.int64)


def _count(labels: LabelSet) -> Counts:
    total = np.zeros(0, np.int64)
    for entry in labels.entries:
        group = group_numbers(labels.read(entry), labels.contract)
        total = _joined([total, np.bincount(group[group >= 0])])
    return total


def _joined(counts: Sequence[Counts]) -> Counts:
    total = np.zeros(max(map(len, counts)), np.int64)
    for each in counts:
        total[: len(each)] += each
    return total
