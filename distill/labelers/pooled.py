"""Votes that rows of one group share: what a zero-shot classifier says of a row, brought nearer to
what it says in the mean of the rows that are like it.

With p(x) the votes of a row (exclusive classes), G(x) the rows of its group, and s = `own_share`:

    q(x) = s · p(x) + (1 − s) · mean of p over G(x)          logits = log q

A zero-shot classifier errs on single rows; where clusters are of one class (the cluster assumption,
Chapelle et al. 2006, chapter 1), the others of the cluster know better. It is transductive: the
means are of the very rows that are labelled. At s = 0 each cluster has one answer, at 1 nothing
changes.

Shapes: B rows, C classes, K groups. A row that was seen is (C + 1) numbers: logits, then its group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import safetensors.numpy

from distill.labelers.base import Double, Inputs, Matrix, probabilities_of
from distill.labelers.recipe import Recipe
from distill.models.record import read_weights
from distill.spec.outputs import Outputs
from distill.storage.open import open_storage

_VOTES = Outputs("logits")
# in place of a probability of 0, whose logarithm would be no number that is stored
_LEAST = np.finfo(np.float32).tiny


class GroupSums(NamedTuple):
    """What a pass adds up."""

    votes: Double  # of each group (K, C)
    rows: Double  # (K,)


@dataclass(frozen=True)
class PooledLabeler:
    """Sees votes and groups, and answers with the votes that it is brought to."""

    means: Double  # (K, C)
    own_share: float

    @classmethod
    def load(cls, recipe: Recipe) -> PooledLabeler:
        """Load the groups' means. Raises StorageError."""
        assert recipe.pooled is not None
        assert recipe.record is not None
        content = read_weights(open_storage(recipe.folder), recipe.record)
        arrays = safetensors.numpy.load(content)
        return cls(arrays["means"], recipe.pooled.own_share)

    def label(self, features: Inputs) -> Matrix:
        """Return logits (B, C) of rows (B, C + 1)."""
        p_BC, group_B = split_votes(features)
        mean_BC = self.means[group_B]
        q_BC = self.own_share * p_BC + (1 - self.own_share) * mean_BC
        logits_BC: Matrix = np.log(np.maximum(q_BC, _LEAST)).astype(np.float32)
        return logits_BC


def split_votes(rows: Inputs) -> tuple[Double, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return probabilities (B, C) and groups (B,) of rows (B, C + 1)."""
    logits_BC = rows[:, :-1].astype(np.float64)
    return probabilities_of(logits_BC, _VOTES), rows[:, -1].astype(np.int64)


def sum_votes(rows: Inputs) -> GroupSums:
    """Add up some rows."""
    p_BC, group_B = split_votes(rows)
    groups = int(group_B.max(initial=-1)) + 1
    votes_KC = np.zeros((groups, p_BC.shape[1]))
    np.add.at(votes_KC, group_B, p_BC)
    rows_K = np.bincount(group_B, minlength=groups).astype(np.float64)
    return GroupSums(votes_KC, rows_K)


def add_sums(one: GroupSums, other: GroupSums) -> GroupSums:
    """Merge two, of which one may know more groups."""
    few, many = sorted((one, other), key=lambda each: len(each.rows))
    votes_KC = many.votes.copy()
    rows_K = many.rows.copy()
    votes_KC[: len(few.rows)] += few.votes
    rows_K[: len(few.rows)] += few.rows
    return GroupSums(votes_KC, rows_K)
