"""What each row adds to sums, as columns: to those of all rows, and times its draws to those of each
replicate.

Shapes: B rows, C classes, K calibration bins.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# as many as in Guo et al. 2017
BINS = 15
TOP = (3, 5)


def by_class(numbers: npt.NDArray[np.int64], classes: int, weights: Array | None = None) -> Array:
    """Return (classes,): rows of each class, or the sum of their weights."""
    return np.bincount(numbers, weights, minlength=classes).astype(np.float64)


def one_hot(numbers: npt.NDArray[np.int64], classes: int) -> Array:
    """Return (B, classes): 1 at each row's number, nothing at −1."""
    hot: Array = (numbers[:, None] == np.arange(classes)).astype(np.float64)
    return hot


def among_top(
    probabilities: Array, truth: npt.NDArray[np.int64], true_probabilities: Array
) -> Array | None:
    """Return (B, T): whether the truth is among the likeliest classes, for each of `TOP` that is
    fewer than there are; None where none is."""
    sizes = [size for size in TOP if size < probabilities.shape[1]]
    if not sizes:
        return None
    likelier = probabilities > true_probabilities[:, None]
    before = np.arange(probabilities.shape[1]) < truth[:, None]
    as_likely = (probabilities == true_probabilities[:, None]) & before
    is_above = likelier | as_likely
    rank = is_above.sum(axis=1)
    # a class that the method lacks is not named, however few it has
    rank = np.where(true_probabilities > 0, rank, len(probabilities[0]))
    flags: Array = (rank[:, None] < np.array(sizes)).astype(np.float64)
    return flags


def count_of(are: npt.NDArray[np.bool_]) -> Array:
    """Return (2,): how many are true, of how many."""
    return np.array([float(are.sum()), float(are.size)])


def count_blocks(are: npt.NDArray[np.bool_]) -> Array:
    """Return (B, 2): how many of each row are true, of how many."""
    by_row = are.reshape(len(are), -1).astype(np.float64)
    sizes = np.full(len(by_row), float(by_row.shape[1]))
    return np.stack([by_row.sum(axis=1), sizes], axis=1)


def bin_numbers(confidence: Array) -> tuple[npt.NDArray[np.int64], Array]:
    """Return the bin of each confidence, and the confidence."""
    # the last bin has its upper border too: a confidence of 1 is none beyond it
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1), confidence


def bins(numbers: npt.NDArray[np.int64], confidence: Array, right: Array) -> Array:
    """Return (K, 3): rows, Σ confidence, Σ right."""
    ones = np.ones_like(right)
    columns = [np.bincount(numbers, each, minlength=BINS) for each in (ones, confidence, right)]
    return np.stack(columns, axis=1)


def bin_blocks(numbers: npt.NDArray[np.int64], confidence: Array, right: Array) -> Array:
    """Return (B, K, 3): what each row adds to each bin, through all its outputs."""
    rows = len(numbers)
    shape = (rows, BINS, 3)
    blocks = np.zeros(shape)
    row = np.arange(rows).reshape(rows, *([1] * (numbers.ndim - 1)))
    what = np.stack([np.ones_like(right), confidence, right], axis=-1)
    np.add.at(blocks, (np.broadcast_to(row, numbers.shape), numbers), what)
    return blocks
