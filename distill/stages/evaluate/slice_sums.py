"""Sums by the value of a slicing: of each class, source, cluster … as many numbers as one likes.

There may be any number of values. Those with the smallest hashes are kept, `MOST_VALUES` of them,
and the others are summed under `OTHERS`: which they are depends on the values alone, so parts may
be added in any order.

Of each value the rows with the largest scores are remembered, by their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xxhash

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

MOST_VALUES = 1_000
OTHERS = "(others)"
EXAMPLES = 3


@dataclass(frozen=True)
class SliceSums:
    """One line a value: sums (V, K), and rows (V, E) of the largest scores (V, E), else −1."""

    values: tuple[str, ...]
    sums: Array
    rows: Rows
    scores: Array

    @classmethod
    def of(
        cls, values: npt.NDArray[np.object_], table: Array, row: Rows, score: Array
    ) -> SliceSums:
        """Return the sums of one chunk: the value of each row (B,), its numbers (B, K), its own
        number and its score (B,)."""
        if not len(values):
            return cls((), table[:0], *_none(0))
        names, place = np.unique(values, return_inverse=True)
        # the highest score of each value first; of equals the row that comes first
        order = np.lexsort((row, -score, place))
        starts = np.searchsorted(place[order], np.arange(len(names)))
        sums = np.add.reduceat(table[order], starts, axis=0)
        ends = np.append(starts[1:], len(order))
        kept_rows, kept_scores = _none(len(names))
        for line, (start, end) in enumerate(zip(starts, ends, strict=True)):
            best = order[start : min(end, start + EXAMPLES)]
            kept_rows[line, : len(best)] = row[best]
            kept_scores[line, : len(best)] = score[best]
        return cls(tuple(map(str, names)), sums, kept_rows, kept_scores)._bounded()

    def __add__(self, other: SliceSums) -> SliceSums:
        names = sorted({*self.values, *other.values})
        line_of = {name: line for line, name in enumerate(names)}
        sums = np.zeros((len(names), self.sums.shape[1]))
        rows, scores = _none(len(names), 2 * EXAMPLES)
        for side, part in enumerate((self, other)):
            lines = [line_of[name] for name in part.values]
            columns = slice(side * EXAMPLES, (side + 1) * EXAMPLES)
            sums[lines] += part.sums
            rows[lines, columns] = part.rows
            scores[lines, columns] = part.scores
        return SliceSums(tuple(names), sums, *_largest(rows, scores))._bounded()

    def _bounded(self) -> SliceSums:
        own = [value for value in self.values if value != OTHERS]
        if len(own) <= MOST_VALUES:
            return self
        kept = set(sorted(own, key=_hash)[:MOST_VALUES])
        lines = [line for line, value in enumerate(self.values) if value in kept]
        others = [line for line, value in enumerate(self.values) if value not in kept]
        rest_rows, rest_scores = _largest(
            self.rows[others].reshape(1, -1), self.scores[others].reshape(1, -1)
        )
        # in the order of names, as all else
        values = [*(self.values[line] for line in lines), OTHERS]
        order = sorted(range(len(values)), key=values.__getitem__)
        rest = self.sums[others].sum(axis=0, keepdims=True)
        return SliceSums(
            tuple(values[line] for line in order),
            np.concatenate([self.sums[lines], rest])[order],
            np.concatenate([self.rows[lines], rest_rows])[order],
            np.concatenate([self.scores[lines], rest_scores])[order],
        )


def _hash(value: str) -> tuple[int, str]:
    return xxhash.xxh3_64_intdigest(value.encode("utf-8", "surrogatepass")), value


def _none(lines: int, columns: int = EXAMPLES) -> tuple[Rows, Array]:
    """Return rows and scores of which there are none."""
    return np.full((lines, columns), -1, np.int64), np.full((lines, columns), -np.inf)


def _largest(rows: Rows, scores: Array) -> tuple[Rows, Array]:
    """Return the `EXAMPLES` of each line with the largest scores."""
    order = np.lexsort((rows, -scores))[:, :EXAMPLES]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
