"""What is gathered of some rows of a pool to look at a structure, and put together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.labelers.base import Matrix
from distill.labelers.structure import rows as drawn
from distill.labelers.structure.base import Int64
from distill.labelers.structure.groups import Groups
from distill.labelers.structure.labeler import StructureLabeler
from distill.loader.dataset import Dataset
from distill.loader.sampler import Chunk
from distill.stages.structure.usable_rows import usable_rows

_SAMPLE_ROWS = 1_500
_SHOWN_ROWS = 10
_MOST_COUNTS = 1 << 20  # of clusters × classes; beyond it classes are not counted
_DRAW = 77  # tells this draw of rows from those of the fit
_UNKNOWN = -1


@dataclass(frozen=True)
class Seen:
    """What is gathered of some rows."""

    rows: int
    # drawn rows; the last column of its values is the number of the row's class
    sample: drawn.Sample
    nearest: drawn.Sample | None  # rows of each shown cluster, the nearest to its centre
    counts: Int64 | None  # (k, C): rows by cluster and class

    def merge(self, other: Seen) -> Seen:
        """Return what is gathered of both's rows."""
        nearest = None
        if self.nearest is not None and other.nearest is not None:
            nearest = self.nearest.merge(other.nearest)
        counts = None
        if self.counts is not None and other.counts is not None:
            counts = self.counts + other.counts
        rows = self.rows + other.rows
        return Seen(rows, self.sample.merge(other.sample), nearest, counts)


@dataclass(frozen=True)
class Look:
    """What travels to the workers."""

    dataset: Dataset
    before: StructureLabeler
    groups: Groups | None
    classes: int

    def __call__(self, chunk: Chunk) -> Seen:
        values, row = usable_rows(self.dataset, self.before, chunk)
        target = self._targets(chunk, row)
        key = drawn.uniform(0, _DRAW, row)
        with_target = np.concatenate([values, target[:, None].astype(np.float32)], axis=1)
        sample = drawn.sample_of(_SAMPLE_ROWS, with_target, row, key)
        if self.groups is None:
            return Seen(len(row), sample, None, None)
        group = self.groups.of(values)
        nearest = self._nearest(self.groups, values, row, group)
        return Seen(len(row), sample, nearest, self._counts(self.groups, group, target))

    def _targets(self, chunk: Chunk, row: Int64) -> Int64:
        """The class of each usable row; −1 where it is not known."""
        if not self.classes:
            rows = len(row)
            return np.full(rows, _UNKNOWN)
        arrays = self.dataset.learned(chunk, "target")
        weights = arrays["weight"]
        is_known = weights > 0  # type: ignore[operator]
        target = np.where(is_known, arrays["target"], _UNKNOWN).astype(np.int64)
        first = self.dataset.row_numbers(chunk)[0]
        found: Int64 = target[row - first]
        return found

    def _nearest(self, groups: Groups, values: Matrix, row: Int64, group: Int64) -> drawn.Sample:
        """The rows nearest to the centres of the groups that are shown."""
        place = np.full(len(groups.sizes), _UNKNOWN)
        place[groups.shown] = np.arange(len(groups.shown))
        shown = place[group]
        is_shown = shown >= 0
        away = groups.compared(values[is_shown]) - groups.centres[group[is_shown]]
        squares = np.einsum("ij,ij->i", away, away)
        most = np.full(len(groups.shown), _SHOWN_ROWS)
        nothing = np.zeros((len(squares), 0), np.float32)
        return drawn.sample_of_groups(most, nothing, row[is_shown], squares, shown[is_shown])

    def _counts(self, groups: Groups, group: Int64, target: Int64) -> Int64 | None:
        k = len(groups.sizes)
        if not self.classes or k * self.classes > _MOST_COUNTS:
            return None
        is_known = target >= 0
        cell = group[is_known] * self.classes + target[is_known]
        counts = np.bincount(cell, minlength=k * self.classes)
        return counts.reshape(k, self.classes)
