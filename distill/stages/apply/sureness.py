"""How sure a student is of a row: the log-odds of its likeliest class, and bins of it.

    s = log p₁ − log(1 − p₁) = −log Σ_{c ≠ best} exp(z_c − max z)

The order of rows is the same by p₁, but p₁ is 1 in double precision from 37 nats on, where trained
networks often are: by s such rows are still told apart. Bins are even in arsinh s, so they are fine
where classes compete and reach as far as float32 does. Thresholds are borders of bins, so that
counts of bins over a pool of any size decide where one lies.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from distill.core.cascades import Threshold

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_PER_UNIT = 256
_LOWEST = -4.0
"""In arsinh: −27 nats, below what even 10⁹ classes alike have."""
_BLOCK_ROWS = 1_024
BINS = 24 * _PER_UNIT
"""Up to 10⁸ nats."""


def log_odds(logits_BC: Float64) -> Float64:
    """Return the log-odds (B,) of each row's likeliest class."""
    rows = np.arange(len(logits_BC))
    best = logits_BC.argmax(axis=1)
    below = logits_BC - logits_BC[rows, best][:, None]
    odds = np.exp(below)
    odds[rows, best] = 0.0
    with np.errstate(divide="ignore"):
        found: Float64 = -np.log(odds.sum(axis=1))
    return found


def bins_of(sureness: Float64) -> Int64:
    """Return the bin of each row's log-odds, 0 to `BINS` − 1."""
    with np.errstate(invalid="ignore"):
        position = (np.arcsinh(sureness) - _LOWEST) * _PER_UNIT
    return np.clip(position, 0, BINS - 1).astype(np.int64)


def probability_at(number: int) -> float:
    """Return the probability of the likeliest class at the lower border of a bin."""
    log_odds = math.sinh(_LOWEST + number / _PER_UNIT)
    return 1.0 / (1.0 + math.exp(-log_odds)) if log_odds > -700 else 0.0


def softmax(logits_BC: Float64) -> Float64:
    """Return the probabilities (B, C) of exclusive classes."""
    odds = np.exp(logits_BC - logits_BC.max(axis=1, keepdims=True))
    probabilities: Float64 = odds / odds.sum(axis=1, keepdims=True)
    return probabilities


def sure_rows(logits: Float64, threshold: Threshold) -> Bool:
    """Find the rows (B,) that a student answers itself."""
    if threshold.by == "sets":
        found: Bool = set_members(logits, threshold).sum(axis=1) == 1
        return found
    return bins_of(log_odds(logits)) >= threshold.bin


def unsure_rows(logits: npt.NDArray[np.floating], labelled: Bool, threshold: Threshold) -> Int64:
    """Return the numbers of the rows that are sent on, of (B, C) logits and which rows have any."""
    is_sure = np.empty(len(logits), np.bool_)
    # by blocks: of a fragment of 50,000 rows and 1,000 classes all at once would take 1.6 GB
    for start in range(0, len(logits), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        is_sure[block] = sure_rows(logits[block].astype(np.float64), threshold)
    return np.flatnonzero(labelled & ~is_sure)


def set_members(logits: Float64, threshold: Threshold) -> Bool:
    """Find the classes (B, C) in each row's prediction set."""
    members: Bool = softmax(logits) >= threshold.threshold
    return members
