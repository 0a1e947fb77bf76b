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

ClassCounts = npt.NDArray[np.int64]  # rows of each class, (C,)


def class_weights(workspace: Workspace, term: Term, pools: Sequence[OpenPool]) -> tuple[float, ...]:
    """Return what a row of each class counts in a balanced term, over all rows that it sees."""
    assert isinstance(term.row_weight, ClassBalance)
    counts = [_counts(workspace, term, pool) for pool in pools]
    return balancing_weights(np.sum(counts, axis=0), term.row_weight.power)


def _counts(workspace: Workspace, term: Term, pool: OpenPool) -> ClassCounts:
    label_set = term.label_set
    if label_set:
        return _label_counts(workspace, label_set, pool)
    return _target_counts(workspace, pool)


def _label_counts(workspace: Workspace, name: str, pool: OpenPool) -> ClassCounts:
    _, contract = prepare_labels(workspace, name)
    labels = workspace.whole_labels(name, pool, contract)
    counted = ["labels", contract.width, labels.label_hash]
    return _remembered(workspace, counted, lambda: class_counts(labels, contract))


def _target_counts(workspace: Workspace, pool: OpenPool) -> ClassCounts:
    outputs = workspace.tables.pool_outputs(pool.name)
    spec = pool.spec
    target = str(spec.target)
    inventory = pool.inventory
    counted = ["target", inventory.content, target, list(outputs.classes)]
    fragment_rows = workspace.tables.fragment_rows
    return _remembered(
        workspace, counted, lambda: target_counts(inventory, target, outputs, fragment_rows)
    )


def _remembered(
    workspace: Workspace, counted: Sequence[object], count: Callable[[], ClassCounts]
) -> ClassCounts:
    counts = workspace.remember("counts", counted, lambda: count().tolist())
    return np.array(counts, np.int64)
