"""The bootstrap, streamed: each row counts as often in each replicate as a hash of (seed, row,
replicate) says.

Drawn with replacement, a row of many comes about Poisson(1) times (Hanley & MacGibbon 2006;
Chamandy et al. 2012), so no row needs to know of others: a replicate's sums are sums over rows like
any other, the same for any number of workers and any cut into chunks. The same draws serve every
method, so differences of methods are differences on the same rows.

Shapes: B rows, R replicates, K numbers a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distill.core.intervals import LEVEL, Interval

Array = npt.NDArray[np.float64]
Draws = npt.NDArray[np.float32]

REPLICATES = 1_000
LEAST_REPLICATES = 200
# of all methods' replicates together, 64 MB; a worker holds two of such states
_MOST_NUMBERS = 8_000_000
_CLASS_NUMBERS = 4
# about how many numbers a method's replicate has, of each class and beside them
_OTHER_NUMBERS = 50
_MOST_CLASSES = 100
SEED = 0x6A75646765
_PARTS = 4  # draws from one 64-bit hash, 16 bits each: the mean of a draw is off by less than 2e-5
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def _poisson_table() -> npt.NDArray[np.uint8]:
    """Return (65536,): the Poisson(1) quantile in the middle of each 1/65536."""
    chance = np.exp(-1.0) / np.cumprod([1.0, *range(1, 12)])
    middles = (np.arange(1 << 16) + 0.5) / (1 << 16)
    return np.searchsorted(np.cumsum(chance), middles).astype(np.uint8)


_POISSON = _poisson_table()


def replicates_of(methods: int, classes: int) -> int:
    """Return how many replicates memory is meant to hold of so many methods."""
    numbers = _CLASS_NUMBERS * min(classes, _MOST_CLASSES) + _OTHER_NUMBERS
    fitting = _MOST_NUMBERS // (numbers * max(methods, 1))
    wanted = min(REPLICATES, fitting)
    return max(LEAST_REPLICATES, wanted)


def hashed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return 64 well-mixed bits of each number (splitmix64, Steele et al. 2014)."""
    mixed = numbers * _STEP
    mixed ^= mixed >> np.uint64(30)
    mixed *= _FIRST
    mixed ^= mixed >> np.uint64(27)
    mixed *= _SECOND
    mixed ^= mixed >> np.uint64(31)
    return mixed


def row_hashes(rows: npt.NDArray[np.int64], seed: int = SEED) -> npt.NDArray[np.uint64]:
    """Return 64 bits (B,) of each row's number: an order of rows that is nobody's."""
    return hashed(rows.astype(np.uint64) + np.uint64(seed % (1 << 62)))


def draw(rows: npt.NDArray[np.int64], replicates: int = REPLICATES, seed: int = SEED) -> Draws:
    """Return (B, R): how often each row of these numbers counts in each replicate."""
    hashes = -(-replicates // _PARTS)
    columns = np.arange(1, hashes + 1, dtype=np.uint64)
    bits = hashed(row_hashes(rows, seed)[:, None] + columns)
    drawn = _POISSON[bits.view(np.uint16)]
    # float32 for the products below: it holds such counts exactly
    return drawn[:, :replicates].astype(np.float32)


def resampled(draws: Draws, table: npt.NDArray[np.floating]) -> Array:
    """Return (R, K): Σ over rows of draws × table (B, K), of each replicate."""
    return (draws.T @ table.astype(np.float32)).astype(np.float64)


def percentiles(replicates: Array, level: float = LEVEL) -> Interval:
    """Return the interval that holds the middle of the replicates' values; those that have none
    (NaN, of a resample without such rows) do not count."""
    is_known = np.isfinite(replicates)
    known = replicates[is_known]
    if not len(known):
        return float("-inf"), float("inf")
    tail = (1 - level) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def stacked(columns: Sequence[npt.NDArray[np.floating]]) -> npt.NDArray[np.floating]:
    """Return columns (B,) and blocks of columns (B, k) side by side (B, K)."""
    return np.concatenate([each.reshape(len(each), -1) for each in columns], axis=1)
