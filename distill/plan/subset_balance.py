"""How much rows count by their class or group where a student learns from some rows alone: as those
rows have them. What the others have is not known to who has so few, and a point of a learning curve
that used it would be too good.

The rows are few and are read at once; nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from distill.labels.encoding import best_class
from distill.loader.dataset import LabelColumn, TargetColumn
from distill.loader.group_weights import group_numbers
from distill.loader.label_rows import read_label_rows
from distill.loader.sample_weight import balancing_weights, group_balancing_weights
from distill.loader.sampler import Chunk
from distill.loader.subset import Subset
from distill.spec.students import ClassBalance, ClusterBalance, Term

Numbers = npt.NDArray[np.int64]
Column = LabelColumn | TargetColumn


def balanced(subset: Subset, name: str, term: Term) -> Column:
    """Return the column of a term with weights by the subset's own rows, where it has any by class
    or group. Raises as `Dataset.load`."""
    column = subset.columns[name]
    rule = term.row_weight
    if isinstance(rule, ClassBalance):
        assert column.class_weights is not None
        counts = _count(subset, _classes(subset, name), len(column.class_weights))
        return replace(column, class_weights=balancing_weights(counts, rule.power))
    if isinstance(rule, ClusterBalance):
        groups = column.groups
        assert groups is not None

        def numbers(chunk: Chunk) -> Numbers:
            return group_numbers(read_label_rows(groups.sets[chunk.pool], chunk), groups.contract)

        counts = _count(subset, numbers, len(groups.weights))
        weights = group_balancing_weights(counts, rule.power)
        weighted = replace(groups, weights=weights)
        return replace(column, groups=weighted)
    return column


def _classes(subset: Subset, name: str) -> Callable[[Chunk], Numbers]:
    """What finds the class of each row of a chunk of the whole dataset; −1 where it has none."""
    column = subset.columns[name]
    if isinstance(column, LabelColumn):
        sets = column.sets
        contract = column.contract

        def best(chunk: Chunk) -> Numbers:
            return best_class(read_label_rows(sets[chunk.pool], chunk), contract).astype(np.int64)

        return best

    def given(chunk: Chunk) -> Numbers:
        learned = subset.learned(chunk, name)
        classes = learned["target"].astype(np.int64)
        return np.where(learned["weight"] > 0, classes, -1)  # type: ignore[operator]

    return given


def _count(subset: Subset, numbers: Callable[[Chunk], Numbers], most: int) -> Numbers:
    """Count the subset's rows by number, (most,), -1 left out."""
    total = np.zeros(most, np.int64)
    for chunk, offsets in subset.pieces():
        found = numbers(chunk)[offsets]
        total += np.bincount(found[found >= 0], minlength=most)
    return total
