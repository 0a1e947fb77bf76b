"""Which centre is nearest to a row, and sums of the rows of each: what every pass of `kmeans` and
`som` spends its time on.

The nearest of k centres c to a row x is the largest x·c − ½‖c‖²: one product of matrices in float32,
(x, 1) with (c, −½‖c‖²), in blocks of rows. Rows and centres are taken from a `shift` first, where
rows lie far from the origin: squares of large numbers would lose what tells rows apart.

Per row and thread, at d = 256 and k = 100 (CPU time, AMD EPYC, numpy 2.4 with OpenBLAS): the product
takes 570 ns, the largest 27. Taking ½‖c‖² from scores in a step of its own made a pass 3% (at 1,024
centres) to 10% (at 100 of 64 numbers) slower than the copy of (x, 1) does. `numpy.argmax` takes a
fifth of `torch.argmax`'s time, numpy's product is as fast as torch's or faster. But numpy has no
fast sum by groups: `reduceat` takes 600 ns a row, torch's `embedding_bag` 16.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from distill.labelers.base import Double, Matrix
from distill.labelers.structure.base import Array, Int64
from distill.labelers.structure.device import nearest_on_device
from distill.labelers.structure.rows import squared_lengths

_SCORES = 1 << 20
_BLOCK_ROWS = 2_048
"""Of a block at the most, and its scores: 4 MiB. Smaller ones pack the centres more often."""
_BAG_ROWS = 128
"""Rows that are summed in float32, before their sum is added in float64."""
_FAR = 16.0
"""How many times the variance of all columns the square of the mean's length may be."""


@dataclass(frozen=True)
class Centres:
    """k centres."""

    offsets: Matrix
    """(k, d): the centres, less the shift."""
    shift: Matrix
    """(d,)."""
    device: str = "cpu"
    """Where `nearest` and `nearest_and_squares` compute: a GPU by torch's name for it, `cuda`."""

    @cached_property
    def _across(self) -> Matrix:
        """(d + 1, k): the centres, and −½‖c‖²."""
        half = squared_lengths(self.offsets) * np.float32(-0.5)
        across: Matrix = np.concatenate([self.offsets.T, half[None]])
        return across

    def shifted(self, values: Matrix) -> Matrix:
        """Return rows (B, d), less the shift."""
        if not self.shift.any():
            return values
        return values - self.shift

    def nearest(self, shifted: Matrix) -> Int64:
        """Return the nearest centre of each row, (B,): of equals the first."""
        if self.device != "cpu":
            return nearest_on_device(shifted, self.offsets, self.device)[0]
        nearest = np.empty(len(shifted), np.int64)
        for block, scores in self._scores(shifted):
            np.argmax(scores, axis=1, out=nearest[block])
        return nearest

    def nearest_two(self, shifted: Matrix) -> tuple[Int64, Int64, Matrix]:
        """Return the nearest centre of each row, the next one, and the squared distance to the
        nearest."""
        nearest = np.empty(len(shifted), np.int64)
        second = np.empty(len(shifted), np.int64)
        best = np.empty(len(shifted), np.float32)
        for block, scores in self._scores(shifted):
            np.argmax(scores, axis=1, out=nearest[block])
            chosen = nearest[block][:, None]
            best[block] = np.take_along_axis(scores, chosen, axis=1)[:, 0]
            np.put_along_axis(scores, chosen, -np.inf, axis=1)
            np.argmax(scores, axis=1, out=second[block])
        return nearest, second, _squares(shifted, best)

    def nearest_and_squares(self, shifted: Matrix) -> tuple[Int64, Matrix]:
        """Return the nearest centre of each row, and the squared distance to it, (B,)."""
        if self.device != "cpu":
            found, score = nearest_on_device(shifted, self.offsets, self.device)
            return found, _squares(shifted, score)
        nearest = np.empty(len(shifted), np.int64)
        best = np.empty(len(shifted), np.float32)
        for block, scores in self._scores(shifted):
            np.argmax(scores, axis=1, out=nearest[block])
            chosen = nearest[block][:, None]
            best[block] = np.take_along_axis(scores, chosen, axis=1)[:, 0]
        return nearest, _squares(shifted, best)

    def squares(self, shifted: Matrix) -> Matrix:
        """Return the squared distances of rows to all centres, (B, k)."""
        squares = np.empty((len(shifted), len(self.offsets)), np.float32)
        lengths = squared_lengths(shifted)
        for block, scores in self._scores(shifted):
            squares[block] = lengths[block, None] - 2 * scores
        return np.maximum(squares, 0, out=squares)

    def _scores(self, shifted: Matrix) -> Iterator[tuple[slice, Matrix]]:
        """Yield blocks of rows, and x·c − ½‖c‖² of each (b, k), which the next block overwrites."""
        count, width = self.offsets.shape
        step = min(len(shifted), max(64, min(_BLOCK_ROWS, _SCORES // count)))
        # not `empty`: OpenBLAS may touch what lies there, and a stale NaN is then warned of
        scores = np.zeros((step, count), np.float32)
        rows_and_one = np.ones((step, width + 1), np.float32)
        for start in range(0, len(shifted), max(1, step)):
            rows = shifted[start : start + step]
            rows_and_one[: len(rows), :-1] = rows
            seen = rows_and_one[: len(rows)]
            # rows are finite: "invalid" is of what its kernels read beside the matrices
            with np.errstate(invalid="ignore"):
                products = np.matmul(seen, self._across, out=scores[: len(rows)])
            yield slice(start, start + len(rows)), products


def shift_of(mean: Double, variance: float) -> Matrix:
    """Return what rows are taken from: their mean, where it lies far from the origin beside the
    variance of all columns; else 0, which costs nothing."""
    if np.sum(mean**2) <= _FAR * variance:
        return np.zeros(len(mean), np.float32)
    return mean.astype(np.float32)


def exact_squares(shifted: Array, offsets: Array) -> Double:
    """Return the squared distance of each row to the centre beside it, both (B, d): exactly 0 where
    they are equal."""
    apart = shifted.astype(np.float64) - offsets
    squares: Double = np.einsum("ij,ij->i", apart, apart)
    return squares


def group_sums(values: Matrix, group: Int64, groups: int) -> Double:
    """Sum the rows of each group: (groups, d)."""
    import torch

    sums = torch.zeros(groups, values.shape[1], dtype=torch.float64)
    if not len(values):
        return np.asarray(sums)
    order = _by_group(group, groups)
    ordered = group[order]
    number = np.arange(len(order))
    is_start = np.diff(ordered, prepend=-1) != 0
    starts = np.flatnonzero(is_start | (number % _BAG_ROWS == 0))
    rows = torch.from_numpy(np.ascontiguousarray(values))
    bags = torch.nn.functional.embedding_bag(
        torch.from_numpy(order), rows, torch.from_numpy(starts), mode="sum"
    )
    sums.index_add_(0, torch.from_numpy(ordered[starts]), bags.double())
    return np.asarray(sums)


def _by_group(group: Int64, groups: int) -> Int64:
    # numbers of 16 bits are sorted by their digits, at a twentieth of the time
    small = group.astype(np.uint16) if groups <= 1 << 16 else group
    return np.argsort(small, kind="stable")


def _squares(shifted: Matrix, scores: Array) -> Matrix:
    squares: Matrix = squared_lengths(shifted) - 2 * scores
    return np.maximum(squares, 0, out=squares)
