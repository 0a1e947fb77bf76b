"""What is drawn of rows: numbers that hang on a row's number alone, and bounded samples.

A sample is a bottom-k sketch (Cohen & Kaplan 2007): the rows of the smallest keys. Two samples put
together are the sample of the union of their rows, so chunks are merged in any order, and a sample
never grows beyond its bound. A key of `uniform` draws rows evenly; −log(u)/w draws them without
replacement by their weights w (Efraimidis & Spirakis 2006); −w takes the largest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.labelers.base import Double, Matrix
from distill.labelers.structure.base import Array, Int64
from distill.pools.hashing import GOLDEN, mixed

SEEDS = 0xD1B54A32D192ED03
DRAWS = 0x8CB92BA72F3D8DD7
_64_BITS = (1 << 64) - 1


def uniform(seed: int, draw: int, row: Int64) -> Double:
    """Return a number within (0, 1) for each row, others for another seed or draw."""
    offset = (seed * SEEDS + draw * DRAWS) & _64_BITS
    spread = row.astype(np.uint64) * np.uint64(GOLDEN)
    # mixed twice: seeds and draws only shift what is mixed first, and shifts of rows look alike
    hashes = mixed(mixed(spread) ^ np.uint64(offset))
    highest = hashes >> np.uint64(11)
    return (highest.astype(np.float64) + 0.5) * 2.0**-53


@dataclass(frozen=True)
class Sample:
    """The rows of the smallest keys, of each group, in order of group, key and row."""

    most: Int64
    """(G,): rows of each group at the most."""
    key: Double
    """(m,)."""
    row: Int64
    """(m,): numbers within the dataset."""
    group: Int64
    """(m,)."""
    values: Matrix
    """(m, d)."""

    def __len__(self) -> int:
        return len(self.row)

    def merge(self, other: Sample) -> Sample:
        """Return the sample of both's rows."""
        key = np.concatenate([self.key, other.key])
        row = np.concatenate([self.row, other.row])
        group = np.concatenate([self.group, other.group])
        chosen = _smallest(self.most, key, row, group)
        # filled in place: joining the values first would take twice the sample's memory
        values = np.empty((len(chosen), self.values.shape[1]), np.float32)
        is_first = chosen < len(self)
        values[is_first] = self.values[chosen[is_first]]
        values[~is_first] = other.values[chosen[~is_first] - len(self)]
        return Sample(self.most, key[chosen], row[chosen], group[chosen], values)


def sample_of_groups(most: Int64, values: Matrix, row: Int64, key: Double, group: Int64) -> Sample:
    """Sample rows (B, d), `most` (G,) of each group. A row whose key is infinite is left out."""
    chosen = _smallest(most, key, row, group)
    return Sample(most, key[chosen], row[chosen], group[chosen], values[chosen])


def sample_of(most: int, values: Matrix, row: Int64, key: Double) -> Sample:
    """Sample rows (B, d), `most` of all. A row whose key is infinite is left out."""
    group = np.zeros(len(row), np.int64)
    return sample_of_groups(np.array([most]), values, row, key, group)


def _smallest(most: Int64, key: Double, row: Int64, group: Int64) -> Int64:
    """Return the positions of the rows that stay, in order of group, key and row."""
    candidates = _few(most, key)
    order = np.lexsort((row[candidates], key[candidates], group[candidates]))
    ordered = candidates[order]
    groups = group[ordered]
    group_starts = np.searchsorted(groups, groups)
    within_group = np.arange(len(ordered)) - group_starts
    chosen: Int64 = ordered[within_group < most[groups]]
    return chosen


def _few(most: Int64, key: Double) -> Int64:
    """Return the positions of rows among which the sample is: finite keys, and of one group, no
    more than can stay."""
    is_drawn = np.isfinite(key)
    if len(most) > 1 or np.count_nonzero(is_drawn) <= most[0]:
        return np.flatnonzero(is_drawn)
    # sorting all keys of a chunk would cost more than the chunk's products where clusters are few
    last = np.partition(key, most[0] - 1)[most[0] - 1]
    return np.flatnonzero(key <= last)


def squared_lengths(values: Matrix) -> Matrix:
    """Return Σ x² of each row, (B,)."""
    lengths: npt.NDArray[np.float32] = np.einsum("ij,ij->i", values, values)
    return lengths


def unit_length(values: Array) -> Array:
    """Return rows of length 1; a row of zeros stays as it is."""
    # in float64, since squares of large numbers have no float32
    lengths = np.sqrt(np.einsum("ij,ij->i", values, values, dtype=np.float64))
    lengths[lengths == 0] = 1
    scaled: Array = values / lengths[:, None].astype(values.dtype)
    return scaled


def squared_distances(one: Matrix, other: Matrix) -> Double:
    """Return the squared Euclidean distances (a, b) of rows (a, d) and (b, d), in float64."""
    left = one.astype(np.float64)
    right = other.astype(np.float64)
    left_lengths = np.einsum("ij,ij->i", left, left)
    right_lengths = np.einsum("ij,ij->i", right, right)
    found: Double = left_lengths[:, None] - 2.0 * (left @ right.T)
    found += right_lengths
    # of equal rows rounding may leave less than nothing
    return np.maximum(found, 0.0, out=found)
