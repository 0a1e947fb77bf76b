"""Tried rows that are said to have taught nothing, and have the very features of a row that did: an
attack that takes them for members is right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xxhash

from distill.core.errors import PoolError
from distill.engine.protocol import Engine
from distill.loader.dataset import Array, Dataset
from distill.loader.sampler import Chunk
from distill.plan.audit.steps import DoublesStep

_CHUNK_ROWS = 8_192
_MOST_SHARE = 0.1
"""Of the rows of another pool; more is no chance."""

Hashes = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Among:
    """`among(chunk)` → which of some hashes rows of the chunk have."""

    dataset: Dataset
    hashes: Hashes

    def __call__(self, chunk: Chunk) -> Mask:
        found: Mask = np.isin(self.hashes, _row_hashes(self.dataset.seen(chunk)))
        return found


def find_doubles(step: DoublesStep, engine: Engine, members: int) -> Mask:
    """Return which of the tried rows after the first `members` have a member's features. Raises
    PoolError for another pool of which many have."""
    tried = np.concatenate([np.empty(0, np.uint64), *_all_hashes(step.tried)])
    hashes = tried[members:]
    chunks = step.members.chunks(_CHUNK_ROWS)
    among = _Among(step.members, hashes)
    is_double: Mask = engine.fold("doubles", among, chunks, np.logical_or)
    share = is_double.mean() if len(is_double) else 0.0
    if share > _MOST_SHARE and not step.is_share:
        raise PoolError(
            f"audit.held_out = {step.others_pool!r}: {int(is_double.sum()):,} of {len(hashes):,}"
            f" tried rows of it are, value for value, among the trained rows of"
            f" pools.{step.members_pool}. Hold out rows that taught nothing."
        )
    return is_double


def _all_hashes(dataset: Dataset) -> Iterator[Hashes]:
    for chunk in dataset.chunks(_CHUNK_ROWS):
        yield _row_hashes(dataset.seen(chunk))


def _row_hashes(features: Array) -> Hashes:
    """Return a hash of what is seen of each row."""
    if features.dtype == object:
        rows = [str(text).encode() for text in features]
    else:
        rows = [np.ascontiguousarray(row).tobytes() for row in features]
    return np.array([xxhash.xxh3_64_intdigest(row) for row in rows], np.uint64)
