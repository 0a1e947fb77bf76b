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

from distill.job.job import Job
from distill.labels.class_counts import class_counts
from distill.loader.sample_weight import balancing_weights
from distill.plan.identity import whole_labels
from distill.plan.labelers import prepare_labels
from distill.plan.outputs import pool_outputs
from distill.plan.remember import remember
from distill.pools.open_pool import OpenPool
from distill.pools.target_counts import target_counts
from distill.spec.students import ClassBalance, Term

RequestCounts = npt.NDArray[np.int64]


def class_weights(job: Job, term: Term, pools: Sequence[OpenPool]) -> tuple[float, ...]:
    """What a row of each class counts in a term that is balanced, over all rows that it sees."""
    assert isinstance(term.row_weight, ClassBalance)
    each = [
        _labelled(job, str(term.label_set), pool) if term.label_set else _known(job, pool)
        for pool in pools
    ]
    return balancing_weights(np.sum(each, axis=0), term.row_weight.power)


def _labelled(job: Job, name: str, pool: OpenPool) -> RequestCounts:
    _, contract = prepare_labels(job, name)
    labels = whole_labels(job, name, pool, contract)
    return _kept(
        job, ["labels", contract.width, labels.label_hash], lambda: class_counts(labels, contract)
    )


def _known(job: Job, pool: OpenPool) -> RequestCounts:
    outputs, target = pool_outputs(job, pool.name), str(pool.spec.target)
    counted = ["target", pool.inventory.content, target, list(outputs.classes)]
    return _kept(
        job, counted, lambda: target_counts(pool.inventory, target, outputs, job.fragment_rows)
    )


def _kept(job: Job, counted: Sequence[object], count: Callable[[], RequestCounts]) -> RequestCounts:
    return np.array(remember(job, "counts", counted, lambda: count().tolist()), np.int64)
