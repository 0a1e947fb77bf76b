"""A bounded sample of labelled rows that is the same however the rows are cut: of each class, those
with the smallest hash of their number.

A bottom-k sketch (Cohen & Kaplan 2007): what is kept of two sets of rows, put together and cut down
again, is what is kept of their union, so chunks may be merged in any order and by any number of
workers, and a sample never grows beyond its bound. The hash is a bijection of row numbers
(splitmix64, Steele et al. 2014), so no two rows tie. All numbers are those of the pool: the same
seed draws the same rows.

The bound is shared evenly by the classes, rare ones being kept whole. With more classes than rows
in the bound, each gives its first row, and of these the smallest hashes stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.labelers.base import Matrix
from distill.pools.hashing import GOLDEN, Hashes, mixed

SAMPLE_ROWS = 20_000
SAMPLE_BYTES = 64 << 20
"""Of the sample's features, in float32."""

Numbers = npt.NDArray[np.int64]
_SEEDS = 0xD1B54A32D192ED03
_64_BITS = (1 << 64) - 1


@dataclass(frozen=True)
class Sample:
    """Some rows, in order of class, then hash."""

    features: Matrix
    """(m, d)."""
    target: Numbers
    """(m,): numbers of classes."""
    row: Numbers
    """(m,): numbers within the pool."""

    def __len__(self) -> int:
        return len(self.row)

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return int(self.features.nbytes + self.target.nbytes + self.row.nbytes)


@dataclass(frozen=True)
class RowSampler:
    """Which rows are kept of `classes` classes under `seed`."""

    classes: int
    seed: int

    def take(self, features: Matrix, target: Numbers, row: Numbers) -> Sample:
        """The sample of some rows: features (n, d), classes (n,), numbers within the pool (n,)."""
        kept = self._kept(features.shape[1], target, row)
        return Sample(features[kept], target[kept], row[kept])

    def merge(self, first: Sample, second: Sample) -> Sample:
        """The sample of two sets of rows together."""
        target, row = (
            np.concatenate([first.target, second.target]),
            np.concatenate([first.row, second.row]),
        )
        kept = self._kept(first.features.shape[1], target, row)
        features = np.empty((len(kept), first.features.shape[1]), np.float32)
        mine = kept < len(first)
        features[mine] = first.features[kept[mine]]
        features[~mine] = second.features[kept[~mine] - len(first)]
        return Sample(features, target[kept], row[kept])

    def _kept(self, width: int, target: Numbers, row: Numbers) -> Numbers:
        """Positions of the rows that stay, in order of class, then hash."""
        most = max(1, min(SAMPLE_ROWS, SAMPLE_BYTES // (4 * width)))
        hashes = self._hashes(row)
        order = np.lexsort((hashes, target))
        ordered = target[order]
        within = np.arange(len(order)) - np.searchsorted(ordered, ordered)
        kept: Numbers = order[within < max(1, most // self.classes)]
        return kept if len(kept) <= most else kept[np.sort(np.argsort(hashes[kept])[:most])]

    def _hashes(self, row: Numbers) -> Hashes:
        return mixed(
            row.astype(np.uint64) * np.uint64(GOLDEN) + np.uint64((self.seed * _SEEDS) & _64_BITS)
        )
