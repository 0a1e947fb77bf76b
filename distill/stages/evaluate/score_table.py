"""Scores of positive and negative rows, added up: areas under ROC and precision-recall curves of a
pool of any size.

A table has one line a distinct score: how many positive and how many negative rows have it. While a
class has at most so many distinct scores as there is room for, everything is exact, ties included.
Beyond that the last bits of all scores of the class are cut off, as few as it takes: the order of
scores stays, and those that fall together become ties. A tie counts half in the area under the ROC
curve, so that area is off by at most half the share of pairs that fell together (`roc_error`).

How many bits are cut depends on the union of the rows alone: a part never has more distinct scores
than the whole, and cutting twice is cutting once. So tables may be added in any order, by any
number of workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from distill.core.intervals import LEVEL, Interval, wilson, z_of

Array = npt.NDArray[np.float64]

MOST_LINES = 1 << 18  # of all classes of a method together: 6 MiB
LEAST_LINES = 256  # of a class
_RESAMPLES = 200
_RESAMPLED_LINES = 2_048


@dataclass(frozen=True)
class Scores:
    """One class: distinct scores as the ordered bits of floats, cut by `shift`, and how many rows of
    either kind have each."""

    shift: int
    bits: npt.NDArray[np.uint64]
    positive: Array
    negative: Array

    @classmethod
    def of(cls, scores: Array, positive: npt.NDArray[np.bool_], most: int) -> Scores:
        """Return the table of one chunk: scores (B,), at least 0, and which rows are positive."""
        # floats of one sign are ordered as their bits are; −0 would be none of them
        bits = (scores + 0.0).view(np.uint64)
        is_positive = positive.astype(np.float64)
        return _fitting(0, bits, is_positive, 1 - is_positive, most)

    def added(self, other: Scores, most: int) -> Scores:
        """Return the table of both sets of rows."""
        shift = max(self.shift, other.shift)
        mine = self.bits >> np.uint64(shift - self.shift)
        its = other.bits >> np.uint64(shift - other.shift)
        return _fitting(
            shift,
            np.concatenate([mine, its]),
            np.concatenate([self.positive, other.positive]),
            np.concatenate([self.negative, other.negative]),
            most,
        )

    @property
    def has_both(self) -> bool:
        """Whether there are positive and negative rows: else there is no curve."""
        return bool(self.positive.any() and self.negative.any())

    @property
    def roc_auc(self) -> float:
        """The share of pairs of a positive and a negative row that are in order, ties half."""
        below = np.cumsum(self.negative) - self.negative
        ordered = self.positive @ (below + self.negative / 2)
        return float(ordered / (self.positive.sum() * self.negative.sum()))

    @property
    def roc_error(self) -> float:
        """How far `roc_auc` may be off; 0 where all scores are told apart."""
        if not self.shift:
            return 0.0
        pairs = self.positive.sum() * self.negative.sum()
        return float(self.positive @ self.negative / pairs / 2)

    @property
    def average_precision(self) -> float:
        """Σ (recall gained) × precision, from the highest score down."""
        return float(_average_precision(self.positive, self.negative))

    @property
    def pr_error(self) -> float:
        """How far `average_precision` may be off: between the worst and the best order of each set
        of scores that fell together."""
        if not self.shift:
            return 0.0
        positive = self.positive[::-1]
        negative = self.negative[::-1]
        positives = np.cumsum(positive)
        before = positives - positive
        negatives = np.cumsum(negative)
        above = negatives - negative
        # within a line: all its positive rows first, or all its negative ones
        best = (before + positive) / np.maximum(before + positive + above, 1)
        worst = (before + 1) / np.maximum(before + 1 + above + negative, 1)
        all_positive = positive.sum()
        gained = positive / all_positive
        return float(gained @ np.maximum(best - worst, 0))

    def intervals(self, generator: np.random.Generator, level: float) -> tuple[Interval, Interval]:
        """Return those of both areas: Wilson's, at the number of rows that would have their variance.

        Of few rows of a kind resamples differ too little, and of a perfect order not at all: 20
        positive rows at an area of 0.99 would be taken for more than they tell in a quarter of
        sets. So no more rows are counted than those of areas near one half tell, of which the
        variance is (m + n + 1) / 12mn (Mann & Whitney 1947); an average precision is a mean over
        the positive rows.
        """
        positives = self.positive.sum()
        positive = float(positives)
        negatives = self.negative.sum()
        negative = float(negatives)
        roc_spread, pr_spread = self.spreads(generator)
        rarer = min(positive, negative)
        most = 3 * positive * negative / (positive + negative + 1)
        return (
            _effective_interval(self.roc_auc, roc_spread, rarer, most, level),
            _effective_interval(self.average_precision, pr_spread, positive, positive, level),
        )

    def spreads(self, generator: np.random.Generator) -> tuple[float, float]:
        """Return the standard errors of both areas: lines are resampled, since a sum of Poisson(1)
        draws over the rows of a line is Poisson(rows)."""
        positive, negative = _coarsened(self.positive, self.negative)
        lines = len(positive)
        shape = (_RESAMPLES, lines)
        drawn_positive = generator.poisson(positive, shape).astype(np.float64)
        drawn_negative = generator.poisson(negative, shape).astype(np.float64)
        usable = drawn_positive.any(axis=1) & drawn_negative.any(axis=1)
        if usable.sum() < 2:
            return 1.0, 1.0
        drawn_positive = drawn_positive[usable]
        drawn_negative = drawn_negative[usable]
        below = np.cumsum(drawn_negative, axis=1) - drawn_negative / 2
        pairs = drawn_positive.sum(axis=1) * drawn_negative.sum(axis=1)
        areas = (drawn_positive * below).sum(axis=1) / pairs
        precisions = _average_precision(drawn_positive, drawn_negative)
        return float(areas.std(ddof=1)), float(precisions.std(ddof=1))


def _effective_interval(
    value: float, spread: float, rarer: float, most: float, level: float
) -> Interval:
    """Return the interval of an area of this standard error among resamples, drawn of so many rows
    of the rarer kind, and taken for `most` rows at the most."""
    effective = most
    # over n − 1, as any variance
    variance = spread**2 * rarer / max(rarer - 1, 1e-9)
    if variance > 0:
        effective = min(most, value * (1 - value) / variance)
    return wilson(value, max(1.0, effective), z_of(level))


def _average_precision(positive: Array, negative: Array) -> Array:
    """Return it along the last axis, whose scores rise."""
    hits = np.cumsum(positive[..., ::-1], axis=-1)
    misses = np.cumsum(negative[..., ::-1], axis=-1)
    precision = hits / np.maximum(hits + misses, 1)
    gained = positive[..., ::-1] / hits[..., -1:]
    area: Array = (gained * precision).sum(axis=-1)
    return area


def _coarsened(positive: Array, negative: Array) -> tuple[Array, Array]:
    """Return at most `_RESAMPLED_LINES` lines, neighbours put together."""
    # a standard error needs no more lines
    if len(positive) <= _RESAMPLED_LINES:
        return positive, negative
    starts = np.linspace(0, len(positive), _RESAMPLED_LINES, endpoint=False).astype(np.int64)
    return np.add.reduceat(positive, starts), np.add.reduceat(negative, starts)


def _cut_to_fit(lines: npt.NDArray[np.uint64], most: int) -> int:
    """Return how many last bits of sorted lines to leave out, as few as it takes to have so many."""
    differing = lines[1:] ^ lines[:-1]
    # by halves: a float holds 32 bits exactly, and its exponent is their length
    high = (differing >> np.uint64(32)).astype(np.float64)
    low = (differing & np.uint64(0xFFFFFFFF)).astype(np.float64)
    length = np.where(high > 0, np.frexp(high)[1] + 32, np.frexp(low)[1])
    # neighbours fall together where no bit in which they differ is left
    apart = np.bincount(length, minlength=65)
    left = 1 + apart.sum() - np.cumsum(apart)
    return int(np.argmax(left <= most))


def _fitting(
    shift: int, bits: npt.NDArray[np.uint64], positive: Array, negative: Array, most: int
) -> Scores:
    """Return a table of at most so many lines."""
    lines, line = np.unique(bits, return_inverse=True)
    positive = np.bincount(line, positive, len(lines)).astype(np.float64)
    negative = np.bincount(line, negative, len(lines)).astype(np.float64)
    if len(lines) > most:
        cut = _cut_to_fit(lines, most)
        shift += cut
        lines = lines >> np.uint64(cut)
        # they are sorted: those that fell together stand side by side
        begins = np.ones(len(lines), np.bool_)
        begins[1:] = lines[1:] != lines[:-1]
        starts = np.flatnonzero(begins)
        lines = lines[starts]
        positive = np.add.reduceat(positive, starts)
        negative = np.add.reduceat(negative, starts)
    return Scores(shift, lines, positive, negative)


@dataclass(frozen=True)
class ScoreTable:
    """The scores of all classes of one method."""

    classes: tuple[Scores, ...]
    most: int

    @classmethod
    def of(cls, scores: Array, positive: npt.NDArray[np.bool_]) -> ScoreTable:
        """Return the table of one chunk, scores and positives (B, C)."""
        most = max(LEAST_LINES, MOST_LINES // max(1, scores.shape[1]))
        columns = zip(scores.T, positive.T, strict=True)
        tables = [Scores.of(np.ascontiguousarray(each), are, most) for each, are in columns]
        return cls(tuple(tables), most)

    def __add__(self, other: ScoreTable) -> ScoreTable:
        pairs = zip(self.classes, other.classes, strict=True)
        return ScoreTable(tuple(mine.added(its, self.most) for mine, its in pairs), self.most)

    @cached_property
    def _judged(self) -> list[Scores]:
        """The classes that have positive and negative rows."""
        # classes that lack either have no curve
        return [each for each in self.classes if each.has_both]

    def measures(self) -> dict[str, float]:
        """Return the means over classes of both areas; nothing where no class has a curve."""
        if not self._judged:
            return {}
        return {
            "roc_auc": float(np.mean([each.roc_auc for each in self._judged])),
            "pr_auc": float(np.mean([each.average_precision for each in self._judged])),
        }

    def errors(self) -> dict[str, float]:
        """Return how far each may be off by scores that fell together; exact ones are left out."""
        if not any(each.shift for each in self._judged):
            return {}
        return {
            "roc_auc": float(np.mean([each.roc_error for each in self._judged])),
            "pr_auc": float(np.mean([each.pr_error for each in self._judged])),
        }

    def intervals(self, level: float = LEVEL) -> dict[str, Interval]:
        """Return an interval of each mean.

        Its reach is the mean of the classes': what it would be were they all off together, since
        they are off on the same rows. So it is too wide, and never too narrow."""
        generator = np.random.default_rng(0)
        ends = np.array([each.intervals(generator, level) for each in self._judged])
        if not len(ends):
            return {}
        (roc_low, roc_high), (pr_low, pr_high) = ends.mean(axis=0).tolist()
        return {"roc_auc": (roc_low, roc_high), "pr_auc": (pr_low, pr_high)}
