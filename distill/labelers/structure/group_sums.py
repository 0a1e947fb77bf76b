"""Sums of rows by group: the second half of a pass of `kmeans` or `som`.

Rows are put in order of their groups and summed in float32, no more than 128 at once, before their
sum is added in float64. numpy has no fast sum by groups: `reduceat` takes 600 ns a row of 256
numbers, torch's `embedding_bag` 50 to 100, by whether the rows are in cache.
"""

from __future__ import annotations

import numpy as np

from distill.labelers.base import Double, Matrix
from distill.labelers.structure.base import Int64

_BAG_ROWS = 128


def group_sums(rows: Matrix, group: Int64, groups: int) -> Double:
    """Sum the rows (B, d) of each group, by their groups (B,): (groups, d)."""
    import torch

    values = np.zeros((groups, rows.shape[1]))
    if not len(rows):
        return values
    counts = np.bincount(group, minlength=groups)
    order = _by_group(group, groups)
    of_bag, starts = _bags(counts)
    bags, *_ = torch.embedding_bag(
        torch.from_numpy(rows), torch.from_numpy(order), torch.from_numpy(starts)
    )
    torch.from_numpy(values).index_add_(0, torch.from_numpy(of_bag), bags.double())
    return values


def _by_group(group: Int64, groups: int) -> Int64:
    # numbers of 8 and 16 bits are sorted by their digits, at a twentieth of the time
    small = group.astype(np.min_scalar_type(groups - 1))
    return np.argsort(small, kind="stable")


def _bags(counts: Int64) -> tuple[Int64, Int64]:
    """Return the group of each bag, and at which of the ordered rows it begins."""
    bags = -(-counts // _BAG_ROWS)
    of_bag = np.repeat(np.arange(len(counts)), bags)
    before = np.cumsum(bags) - bags
    within = np.arange(len(of_bag)) - before[of_bag]
    starts = np.cumsum(counts) - counts
    return of_bag, starts[of_bag] + _BAG_ROWS * within
