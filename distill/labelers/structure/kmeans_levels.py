"""Clusters within clusters: a row is compared with some √k coarse centres, then with the fine ones of
the coarse centre that it is nearest to.

Of k = 100,000 clusters that is 632 products a row in place of 100,000. The fine centre that is found
is not always the nearest of all: a row at the border of a coarse cluster sees only its own side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from distill.labelers.base import Double, Matrix
from distill.labelers.structure.base import Int64
from distill.labelers.structure.centres import Centres
from distill.labelers.structure.group_sums import group_sums


@dataclass(frozen=True)
class TwoLevels:
    """Fine centres, each of one coarse centre."""

    fine: Centres
    coarse: Matrix
    """(c, d): coarse centres, less the shift."""
    parent: Int64
    """(k,): the coarse centre of each fine one."""

    @property
    def offsets(self) -> Matrix:
        """(k, d): the fine centres, less the shift."""
        return self.fine.offsets

    @property
    def shift(self) -> Matrix:
        """(d,)."""
        return self.fine.shift

    def shifted(self, values: Matrix) -> Matrix:
        """Return rows (B, d), less the shift."""
        return self.fine.shifted(values)

    def nearest(self, shifted: Matrix) -> Int64:
        """Return the nearest fine centre of each row within its coarse one, (B,)."""
        nearest = np.empty(len(shifted), np.int64)
        for rows, members, centres in self._cells(shifted):
            nearest[rows] = members[centres.nearest(shifted[rows])]
        return nearest

    def nearest_and_squares(self, shifted: Matrix) -> tuple[Int64, Matrix]:
        """Return the nearest fine centre of each row within its coarse one, and the squared
        distance to it, (B,)."""
        nearest = np.empty(len(shifted), np.int64)
        squares = np.empty(len(shifted), np.float32)
        for rows, members, centres in self._cells(shifted):
            within, squares[rows] = centres.nearest_and_squares(shifted[rows])
            nearest[rows] = members[within]
        return nearest, squares

    def sums(self, shifted: Matrix) -> tuple[Double, Int64]:
        """Return the sum of the rows of each fine centre, (k, d), and their number, (k,)."""
        nearest = self.nearest(shifted)
        count = len(self.offsets)
        return group_sums(shifted, nearest, count), np.bincount(nearest, minlength=count)

    def cell(self, shifted: Matrix) -> Int64:
        """Return the coarse centre of each row, (B,); never one without fine centres."""
        number, centres = self._inhabited
        cell: Int64 = number[centres.nearest(shifted)]
        return cell

    @cached_property
    def _inhabited(self) -> tuple[Int64, Centres]:
        """The coarse centres that have fine ones."""
        number = np.unique(self.parent)
        return number, Centres(self.coarse[number], self.shift)

    @cached_property
    def _members(self) -> dict[int, tuple[Int64, Centres]]:
        """The fine centres of each coarse one."""
        found = {}
        for cell in self._inhabited[0].tolist():
            members = np.flatnonzero(self.parent == cell)
            found[cell] = (members, Centres(self.fine.offsets[members], self.shift))
        return found

    def _cells(self, shifted: Matrix) -> Iterator[tuple[Int64, Int64, Centres]]:
        """Yield the rows of each coarse centre, its fine centres' numbers, and these."""
        cell = self.cell(shifted)
        order = np.argsort(cell, kind="stable")
        ordered = cell[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        for rows in np.split(order, starts[1:]):
            if len(rows):
                yield rows, *self._members[int(cell[rows[0]])]


def shared_out(rows: Int64, clusters: int) -> Int64:
    """Share clusters out by rows (c,), the largest remainders first: no more to a cell than it has
    rows, and at least one to each that has any."""
    share = rows * (clusters / rows.sum())
    at_least_one = np.maximum(np.floor(share), rows > 0)
    given: Int64 = np.minimum(at_least_one, rows).astype(np.int64)
    while (missing := clusters - int(given.sum())) != 0:
        step = int(np.sign(missing))
        can_change = given < rows if step > 0 else given > 1
        remainder = np.where(can_change, (share - given) * step, -np.inf)
        changes = min(abs(missing), int(can_change.sum()))
        first = np.argsort(-remainder, kind="stable")[:changes]
        given[first] += step
    return given
