"""Which centre is nearest to a row, and sums of the rows of each: what every pass of `kmeans` and
`som` spends its time on.

The nearest of k centres c to a row x is the largest x·c − ½‖c‖²: one product of matrices in float32,
(x, 1) with (c, −½‖c‖²), in blocks of rows. Rows and centres are taken from a `shift` first, where
rows lie far from the origin: squares of large numbers would lose what tells rows apart. Where centres
are many and the CPU multiplies bfloat16, the product is left out for rows that `screen` decides.

Per row and thread, at d = 256 and k = 100 (AMD EPYC, numpy 2.4 with OpenBLAS): the product takes 515
to 550 ns, the copy of (x, 1) 50, the largest 30 to 55, sums of a chunk 80 to 130. The copy is no loss:
the product reads a block from cache, and without it took 640 (adding −½‖c‖² in a step of its own
660). torch's product took 680, its `argmax` 110 to 140, rows added one by one by its `index_add_` 123.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from distill.labelers.base import Double, Matrix
from distill.labelers.structure.base import Array, Int64
from distill.labelers.structure.device import nearest_on_device, sums_on_device
from distill.labelers.structure.group_sums import group_sums
from distill.labelers.structure.rows import squared_lengths
from distill.labelers.structure.screen import Screen, is_screened

_SCORES = 1 << 20
"""Of a block at the most: 4 MiB."""
_BLOCK_ROWS = 1_024
"""At the most."""
_LEAST_LEFT = 128
"""Of the rows that a screen leaves, no fewer are multiplied at once: for one row, or a few, OpenBLAS
has other kernels, which sum in another order, and ties would go another way than among all rows."""
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

    @cached_property
    def _screen(self) -> Screen:
        return Screen(self.offsets, -self._across[-1])

    def shifted(self, values: Matrix) -> Matrix:
        """Return rows (B, d), less the shift."""
        if not self.shift.any():
            return values
        return values - self.shift

    def nearest(self, shifted: Matrix) -> Int64:
        """Return the nearest centre of each row, (B,): of equals the first."""
        if self.device != "cpu":
            return nearest_on_device(shifted, self.offsets, self.device)[0]
        count, width = self.offsets.shape
        if not is_screened(count, width, len(shifted)):
            return self._nearest_by_product(shifted)
        nearest, left = self._screen.nearest(shifted)
        nearest[left] = self._nearest_by_product(shifted[left], _LEAST_LEFT)
        return nearest

    def sums(self, shifted: Matrix) -> tuple[Double, Int64]:
        """Return the sum of the rows that are nearest to each centre, (k, d), and their number,
        (k,)."""
        if self.device != "cpu":
            return sums_on_device(shifted, self.offsets, self.device)
        nearest = self.nearest(shifted)
        count = len(self.offsets)
        # of all rows at once: block by block, while they were in cache, took a tenth longer
        sums = group_sums(shifted, nearest, count)
        return sums, np.bincount(nearest, minlength=count)

    def _nearest_by_product(self, shifted: Matrix, least: int = 0) -> Int64:
        nearest = np.empty(len(shifted), np.int64)
        for block, scores in self._scores(shifted, least):
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
            nearest, score = nearest_on_device(shifted, self.offsets, self.device)
            return nearest, _squares(shifted, score)
        nearest = self.nearest(shifted)
        squares = np.empty(len(shifted), np.float32)
        for start in range(0, len(shifted), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            apart = shifted[block] - self.offsets[nearest[block]]
            squares[block] = squared_lengths(apart)
        return nearest, squares

    def squares(self, shifted: Matrix) -> Matrix:
        """Return the squared distances of rows to all centres, (B, k)."""
        squares = np.empty((len(shifted), len(self.offsets)), np.float32)
        lengths = squared_lengths(shifted)
        for block, scores in self._scores(shifted):
            squares[block] = lengths[block, None] - 2 * scores
        return np.maximum(squares, 0, out=squares)

    def _scores(self, shifted: Matrix, least: int = 0) -> Iterator[tuple[slice, Matrix]]:
        """Yield blocks of rows, and x·c − ½‖c‖² of each (b, k), which the next block overwrites.
        Rows are multiplied together with others that mean nothing where they are less than `least`."""
        count, width = self.offsets.shape
        affordable = max(64, min(_BLOCK_ROWS, _SCORES // count))
        step = min(len(shifted), affordable)
        # not `empty`: OpenBLAS may touch what lies there, and a stale NaN is then warned of
        room = max(step, least)
        scores = np.zeros((room, count), np.float32)
        rows_and_one = np.ones((room, width + 1), np.float32)
        for start in range(0, len(shifted), max(1, step)):
            rows = shifted[start : start + step]
            rows_and_one[: len(rows), :-1] = rows
            multiplied = max(len(rows), least)
            seen = rows_and_one[:multiplied]
            # rows are finite: "invalid" is of what its kernels read beside the matrices
            with np.errstate(invalid="ignore"):
                products = np.matmul(seen, self._across, out=scores[:multiplied])
            yield slice(start, start + len(rows)), products[: len(rows)]


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


def _squares(shifted: Matrix, scores: Matrix) -> Matrix:
    """Return the squared distances that scores x·c − ½‖c‖² of rows mean, both (B,)."""
    squares: Matrix = squared_lengths(shifted) - 2 * scores
    return np.maximum(squares, 0, out=squares)
