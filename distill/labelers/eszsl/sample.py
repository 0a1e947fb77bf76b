"""A bounded sample of labelled rows that is the same however the rows are cut: of each class, those
with the smallest hash of their number.

A bottom-k sketch (Cohen & Kaplan 2007): the sample of two samples put together is the sample of the
union of their rows, so chunks may be merged in any order and by any number of workers, and a sample
never grows beyond its bound. All numbers are those of the pool: the same seed draws the same rows.

The bound is shared evenly by the classes. With more classes than rows in the bound, each gives its
first row, and of these the smallest hashes stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.labelers.base import Matrix
from distill.pools.hashing import GOLDEN, Hashes, mixed

SAMPLE_ROWS = 20_000
SAMPLE_BYTES = 64 << 20  # of the sample's features, in float32

Numbers = npt.NDArray[np.int64]
_SEEDS = 0xD1B54A32D192ED03
_64_BITS = (1 << 64) - 1


@dataclass(frozen=True)
class Sample:
    """Some rows, in order of class, then hash."""

    features: Matrix  # (m, d)
    target: Numbers  # (m,): numbers of classes
    row: Numbers  # (m,): numbers within the pool

    def __len__(self) -> int:
        return len(self.row)

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        arrays = (self.features, self.target, self.row)
        return sum(array.nbytes for array in arrays)


@dataclass(frozen=True)
class RowSampler:
    """Chooses rows of `classes` classes under `seed`."""

    classes: int
    seed: int

    def take(self, features: Matrix, target: Numbers, row: Numbers) -> Sample:
        """Sample some rows: features (n, d), classes (n,), numbers within the pool (n,)."""
        chosen = self._chosen(features.shape[1], target, row)
        return Sample(features[chosen], target[chosen], row[chosen])

    def merge(self, first: Sample, second: Sample) -> Sample:
        """Return the sample of two sets of rows together, given the sample of each."""
        width = first.features.shape[1]
        target = np.concatenate([first.target, second.target])
        row = np.concatenate([first.row, second.row])
        chosen = self._chosen(width, target, row)
        # filled in place: joining both features first would take twice the sample's memory
        features = np.empty((len(chosen), width), np.float32)
        is_first = chosen < len(first)
        first_rows = chosen[is_first]
        second_rows = chosen[~is_first] - len(first)
        features[is_first] = first.features[first_rows]
        features[~is_first] = second.features[second_rows]
        return Sample(features, target[chosen], row[chosen])

    def _chosen(self, width: int, target: Numbers, row: Numbers) -> Numbers:
        """Return the positions of the rows that stay, in order of class, then hash."""
        row_bytes = 4 * width
        most = max(1, min(SAMPLE_ROWS, SAMPLE_BYTES // row_bytes))
        # the same for each, so that rare classes are taken whole
        share = most // self.classes
        each_class = max(1, share)
        hashes = self._hashes(row)
        keys = (hashes, target)
        order = np.lexsort(keys)
        ordered = target[order]
        class_starts = np.searchsorted(ordered, ordered)
        positions = np.arange(len(order))
        within_class = positions - class_starts
        stays = within_class < each_class
        chosen: Numbers = order[stays]
        if len(chosen) <= most:
            return chosen
        # more classes than rows in the bound: each gave one
        smallest = np.argsort(hashes[chosen])[:most]
        in_order = np.sort(smallest)
        return chosen[in_order]

    def _hashes(self, row: Numbers) -> Hashes:
        # a bijection of row numbers (splitmix64, Steele et al. 2014), so no two rows tie
        offset = (self.seed * _SEEDS) & _64_BITS
        spread = row.astype(np.uint64) * np.uint64(GOLDEN)
        start = np.uint64(offset)
        shifted = spread + start
        return mixed(shifted)
