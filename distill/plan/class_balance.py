"""How much rows count by their class, from how many rows have each: counted once, and kept under
the root by what was counted.

    counts/<digest of label hash, or of pool content, target and classes>

A label set's counts are in its commits; a target's cost a pass over that column, which the trials
of a sweep, and the next run, do not repeat. Rows whose features cannot be read are counted too:
they have no weight in any term.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from distill.labels.class_counts import class_counts
from distill.loader.sample_weight import balancing_weights
from distill.plan.labelers import prepare_labels
from distill.plan.workspace import Workspace
from distill.pools.open_pool import OpenPool
from distill.pools.target_counts import target_counts
from distill.spec.students import ClassBalance, Term

RequestCounts = npt.NDArray[np.int64]


def class_weights(workspace: Workspace, term: Term, pools: Sequence[OpenPool]) -> tuple[float, ...]:
    """What a row of each class counts in a term that is balanced, over all rows that it sees."""
    assert isinstance(term.row_weight, ClassBalance)
    each = [
        _labelled(workspace, str(term.label_set), pool)
        if term.label_set
        else _known(workspace, pool)
        for pool in pools
    ]
    return balancing_weights(np.sum(each, axis=0), term.row_weight.power)


def _labelled(workspace: Workspace, name: str, pool: OpenPool) -> RequestCounts:
    _, contract = prepare_labels(workspace, name)
    labels = workspace.whole_labels(name, pool, contract)
    return _kept(
        workspace,
        ["labels", contract.width, labels.label_hash],
        lambda: class_counts(labels, contract),
    )


def _known(workspace: Workspace, pool: OpenPool) -> RequestCounts:
    outputs, target = workspace.tables.pool_outputs(pool.name), str(pool.spec.target)
    counted = ["target", pool.inventory.content, target, list(outputs.classes)]
    return _kept(
        workspace,
        counted,
        lambda: target_counts(pool.inventory, target, outputs, workspace.tables.fragment_rows),
    )


def _kept(
    workspace: Workspace, counted: Sequence[object], count: Callable[[], RequestCounts]
) -> RequestCounts:
    return np.array(workspace.remember("counts", counted, lambda: count().tolist()), np.int64)
