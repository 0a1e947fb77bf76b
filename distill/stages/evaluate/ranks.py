"""Spearman's rank correlation of two values over any number of rows.

Ranks need all rows at once. While there are few distinct pairs of values, all of them are kept with
their counts, and the correlation is exact, ties at their mean rank. Beyond that each of the two is
cut to `_SIDE` distinct values by leaving out the last bits of its numbers, as few as it takes, and
what is kept is how many rows have each pair of those. The ranks of what fell together become ties,
which takes Σ w³ from the variance of the ranks, w being the share of rows in each: `error` says how
much that is. As in `score_table`, what is cut depends on the union of the rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Bits = npt.NDArray[np.uint64]

MOST_PAIRS = 1 << 17
_SIDE = 512
_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True)
class RankPairs:
    """How many rows have each pair of values, as ordered bits of floats."""

    shifts: tuple[int, int]
    pairs: npt.NDArray[np.uint64]  # (P, 2), sorted
    rows: Array

    @classmethod
    def of(cls, first: Array, second: Array) -> RankPairs:
        """Return the pairs of one chunk, both (B,)."""
        bits = np.stack([_ordered(first), _ordered(second)], axis=1)
        return _fitting((0, 0), bits, np.ones(len(bits)))

    def __add__(self, other: RankPairs) -> RankPairs:
        first = max(self.shifts[0], other.shifts[0])
        second = max(self.shifts[1], other.shifts[1])
        shifts = (first, second)
        bits = [_cut(each.pairs, each.shifts, shifts) for each in (self, other)]
        return _fitting(shifts, np.concatenate(bits), np.concatenate([self.rows, other.rows]))

    @property
    def correlation(self) -> float:
        """Spearman's correlation; 0 where one of the two never changes."""
        ranks = [self._ranks(side) for side in (0, 1)]
        total = self.rows.sum()
        centred = [each - self.rows @ each / total for each in ranks]
        spreads = [float(self.rows @ np.square(each)) for each in centred]
        if not all(spreads):
            return 0.0
        together = float(self.rows @ (centred[0] * centred[1]))
        return together / float(np.sqrt(spreads[0] * spreads[1]))

    @property
    def error(self) -> float:
        """The larger share of the variance of ranks that was lost to ties; 0 where none were made."""
        total = self.rows.sum()
        lost = [0.0]
        for side, shift in enumerate(self.shifts):
            if shift:
                _, place = np.unique(self.pairs[:, side], return_inverse=True)
                shares = np.bincount(place, self.rows) / total
                lost.append(float((shares**3).sum()))
        return max(lost)

    def _ranks(self, side: int) -> Array:
        """Return the mean rank of each pair's value."""
        _, place = np.unique(self.pairs[:, side], return_inverse=True)
        counts = np.bincount(place, self.rows)
        # ranks from 1 on: those of a value's rows end at the running count
        middle = np.cumsum(counts) - (counts - 1) / 2
        ranks: Array = middle[place]
        return ranks


def _ordered(values: Array) -> Bits:
    """Return bits in the order of the values."""
    # those of negative floats fall as they rise
    bits = (np.ascontiguousarray(values) + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _cut(pairs: Bits, had: tuple[int, int], shifts: tuple[int, int]) -> Bits:
    more = np.array([shifts[0] - had[0], shifts[1] - had[1]], np.uint64)
    return pairs >> more


def _fitting(shifts: tuple[int, int], pairs: Bits, rows: Array) -> RankPairs:
    distinct, rows = _merged(pairs, rows)
    if len(distinct) > MOST_PAIRS or any(shifts):
        sides = tuple(_shift_to_fit(distinct[:, side], shifts[side]) for side in (0, 1))
        wider = (sides[0], sides[1])
        distinct, rows = _merged(_cut(distinct, shifts, wider), rows)
        shifts = wider
    return RankPairs(shifts, distinct, rows)


def _merged(pairs: Bits, rows: Array) -> tuple[Bits, Array]:
    """Return distinct pairs, sorted, and the rows of each."""
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    ordered = pairs[order]
    begins = np.ones(len(ordered), np.bool_)
    begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    starts = np.flatnonzero(begins)
    if not len(starts):
        return ordered, rows
    return ordered[starts], np.add.reduceat(rows[order], starts)


def _shift_to_fit(values: Bits, shift: int) -> int:
    distinct = np.unique(values)
    while len(distinct) > _SIDE:
        distinct = np.unique(distinct >> np.uint64(1))
        shift += 1
    return shift
