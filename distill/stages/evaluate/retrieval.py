"""Whether embeddings find the neighbours that the truth finds, on a bounded sample of rows.

The rows with the smallest hashes of their numbers are kept, the same ones however rows were cut
into chunks. Of each, the `NEIGHBOURS` nearest others by cosine are looked up among them, once by the
truth and once by the method: recall is the share of the former that the latter has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.core.intervals import Interval, mean_interval, share_interval

Array = npt.NDArray[np.float64]

MOST_ROWS = 2_048
NEIGHBOURS = 10


@dataclass(frozen=True)
class EmbeddedSample:
    """Rows with the smallest hashes: hash (S,), truth and answer (S, W)."""

    hashes: npt.NDArray[np.uint64]
    truth: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]

    @classmethod
    def of(cls, hashes: npt.NDArray[np.uint64], truth: Array, values: Array) -> EmbeddedSample:
        """Return the sample of one chunk."""
        kept = np.argsort(hashes, kind="stable")[:MOST_ROWS]
        return cls(hashes[kept], truth[kept].astype(np.float32), values[kept].astype(np.float32))

    def __add__(self, other: EmbeddedSample) -> EmbeddedSample:
        hashes = np.concatenate([self.hashes, other.hashes])
        kept = np.argsort(hashes, kind="stable")[:MOST_ROWS]
        truth = np.concatenate([self.truth, other.truth])[kept]
        values = np.concatenate([self.values, other.values])[kept]
        return EmbeddedSample(hashes[kept], truth, values)

    def recall(self, level: float) -> tuple[float, Interval] | None:
        """Return the mean share of neighbours found, and its interval; None of too few rows."""
        rows = len(self.hashes)
        if rows <= NEIGHBOURS:
            return None
        due = _nearest(self.truth)
        found = _nearest(self.values)
        hits = [len(np.intersect1d(mine, its)) for mine, its in zip(due, found, strict=True)]
        shares = np.array(hits, np.float64) / NEIGHBOURS
        total = float(shares.sum())
        squares = float(np.square(shares).sum())
        low, high = mean_interval(total, squares, rows, level)
        if low == high:
            # where all neighbours of all rows are found, those of others may not be
            low, high = share_interval(total, rows, level)
        return total / rows, (max(0.0, low), min(1.0, high))


def _nearest(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return (S, `NEIGHBOURS`): the others nearest to each row, the nearest first."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, np.float32(1e-30))
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return np.argsort(-cosines, axis=1, kind="stable")[:, :NEIGHBOURS]
