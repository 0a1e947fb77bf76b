"""Whether a labeler answers the same when it is asked twice: dropout that was left on, or something
drawn at random, makes labels that nobody can make again.

Rows of the first batch are asked about twice, once a label set, before all others are paid for. A
teacher may cost money a row, so a hundredth of the rows is enough, up to that whole batch: of 1,000
rows 10, of 25,600 and more a batch of 256. What a device may leave undecided (a sum in another
order) and what other rows beside a row change of its last bits lie within the contract's tolerance.
Where some rows alone differ by more, the whole batch is asked about again, and decides: a labeler
may see a batch as one (a scale that is taken from all its rows) and still say the same each time.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.core.source import user_errors
from distill.labelers.base import Inputs, Labeler, Matrix, predict
from distill.labels.contract import Contract

STRICT_REFUSES = ' deterministic = "strict" refuses that.'
_SHARE = 0.01
# dropout changes each of them; an answer that is drawn may come out alike on one or two
_FEWEST = 8


@dataclass(frozen=True)
class Again:
    """A first batch as the labeler saw it, and which of its rows it is asked about again."""

    features: Inputs
    rows: npt.NDArray[np.int64]

    @classmethod
    def of(cls, features: Inputs, unusable: Collection[int], count: int) -> Again:
        """Copy a batch, since a labeler may write into what it is given; choose about `count` of
        its rows, evenly, none of the `unusable` ones."""
        usable = np.setdiff1d(np.arange(len(features)), list(unusable))
        count = min(count, len(usable))
        chosen = np.linspace(0, len(usable) - 1, count).astype(int)
        return cls(features.copy(), usable[chosen])


def rows_to_ask_again(rows: int, batch_rows: int) -> int:
    """Return about how many rows of its first batch a labeler is asked about a second time."""
    share = _SHARE * rows
    enough = math.ceil(share)
    wanted = max(_FEWEST, enough)
    return min(batch_rows, wanted)


def ask_again(labeler: Labeler, again: Again, first: Matrix, contract: Contract) -> str | None:
    """Say what is wrong where a labeler answers differently than `first`, its answer (rows, width)
    about the batch. Raises what the labeler raises."""
    rows = again.rows
    if not len(rows):
        return None
    if len(rows) < len(again.features):
        # whatever it raises about some rows alone, the whole batch decides
        try:
            some = predict(labeler, again.features[rows], contract.width)
            if repeat_problem(first[rows], some.outputs, contract) is None:
                return None
        except user_errors():
            pass
    second = predict(labeler, again.features, contract.width)
    return repeat_problem(first, second.outputs, contract)


def repeat_problem(first: Matrix, second: Matrix, contract: Contract) -> str | None:
    """Say what is wrong where two answers (rows, width) about the same rows differ."""
    if largest_share(first, second) <= contract.tolerance:
        return None
    return (
        "asked twice about the same rows, the labeler answered differently, by more than"
        f" {contract.tolerance:.2g} of a row's largest number. Is dropout on (`model.eval()` turns"
        " it off), or is something drawn at random without a seed?"
    )


def largest_share(first: Matrix, second: Matrix) -> float:
    """Return the largest difference of a row's numbers as a share of the largest in the row, or in
    the median row, where that is more: what is close to 0 has nothing but noise. Infinite where a
    row is finite in one answer alone."""
    is_finite = np.isfinite(first)
    finite = is_finite.all(axis=1)
    if not np.array_equal(finite, np.isfinite(second).all(axis=1)):
        return float("inf")
    if not finite.any():
        return 0.0
    one = first[finite].astype(np.float64)
    other = second[finite].astype(np.float64)
    largest = np.maximum(np.abs(one), np.abs(other)).max(axis=1)
    scale = np.maximum(largest, np.median(largest))
    apart = np.abs(one - other).max(axis=1)
    shares = np.divide(apart, scale, out=np.zeros_like(apart), where=scale > 0)
    return float(shares.max())
