"""Rows that may be chosen, as the methods see them: some arrays, and no storage.

Whatever is drawn is drawn by a hash of (seed, row number), so neither the number of workers nor how
rows are cut into chunks changes a choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.labelers.base import Matrix
from distill.pools.hashing import GOLDEN, mixed

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_SEEDS = 0xD1B54A32D192ED03
_64_BITS = (1 << 64) - 1


@dataclass(frozen=True)
class Candidates:
    """m rows of a pool, in order of their numbers, or a sample of them."""

    row: Int64  # (m,): numbers within the pool
    cluster: Int64  # (m,): numbers of clusters; all 0 where no structure is looked through
    values: Matrix  # (m, d): what the structure sees of them
    # (m,): whether a former selection has the row. It is seen, and not chosen again.
    is_former: Bool
    # (m,): which stay where memory cannot hold all, the smallest first: as drawn, or those that
    # labels are least sure of
    priority: Float64

    def __len__(self) -> int:
        return len(self.row)

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        arrays = (self.row, self.cluster, self.values, self.is_former, self.priority)
        return sum(array.nbytes for array in arrays)

    def take(self, positions: Int64) -> Candidates:
        """Return some of them, in that order."""
        return Candidates(
            self.row[positions],
            self.cluster[positions],
            self.values[positions],
            self.is_former[positions],
            self.priority[positions],
        )


@dataclass(frozen=True)
class Choice:
    """What a method chose of m candidates, in the order of choice."""

    position: Int64  # (n,): which of the candidates
    score: Float64  # (n,): what the method goes by; more is better
    reason: list[str]  # a code each: the method, and the cluster where it goes by clusters


def drawn(seed: int, row: Int64) -> Float64:
    """Return a number in 0..1 for each row that looks drawn."""
    offset = np.uint64((seed * _SEEDS) & _64_BITS)
    spread = row.astype(np.uint64) * np.uint64(GOLDEN)
    # as many bits as a float has
    bits = mixed(spread + offset) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53
