"""Whether a labeler answers the same when it is asked twice: dropout that was left on, or something
drawn at random, makes labels that nobody can make again.

One batch is asked about twice, before all others are paid for. It must be the same batch, since
what stands beside a row changes its last bits. What a device may leave undecided (a sum in another
order) lies within the contract's tolerance.
"""

from __future__ import annotations

import numpy as np

from distill.labelers.base import Matrix
from distill.labels.contract import Contract

STRICT_REFUSES = ' deterministic = "strict" refuses that.'


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
    finite = np.isfinite(first).all(axis=1)
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
