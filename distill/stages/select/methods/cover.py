"""ProbCover (Yehuda, Dekel, Hacohen & Weinshall 2022, "Active learning through a covering lens").

A row covers all rows nearer than δ. Rows are chosen one by one, each the one that covers most rows
which are not covered yet; those that former selections cover count as covered. δ is the largest
radius at which a share of the neighbourhoods are pure, that is, lie within one cluster (§3.2).
Where every row is covered before enough are chosen, all but the chosen ones count as uncovered
again, which the paper leaves open.

That a choice can only lessen what others would newly cover spares counting all of them again (lazy
greedy, Minoux 1978): the same rows are chosen.

Memory: who covers whom, m²/8 bytes (128 MiB at 32,768 candidates), and blocks of distances.
"""

from __future__ import annotations

import heapq
import math

import numpy as np
import numpy.typing as npt

from distill.labelers.base import Matrix
from distill.labelers.structure.rows import squared_distances
from distill.stages.select.candidates import Bool, Candidates, Choice, Int64

Bits = npt.NDArray[np.uint8]

_BLOCK_ROWS = 512
# bits that are set in a byte
_ONES = np.array([number.bit_count() for number in range(256)], np.uint8)
_ROUNDING = 1e-9  # 1 − 0.9 is a little less than 0.1


def choose_cover(candidates: Candidates, rows: int, radius: float) -> Choice:
    """Choose `rows` candidates, or as many as there are; the score is how many rows each newly
    covers, as a share of all candidates."""
    if candidates.is_former.all():
        return Choice(np.empty(0, np.int64), np.empty(0), [])
    covers = _covers(candidates.values, radius)
    free = ~candidates.is_former
    uncovered = ~_covered_by(covers, candidates.is_former)
    found: list[int] = []
    scores: list[float] = []
    left = min(rows, int(free.sum()))
    while left:
        newly = _greedy(covers, uncovered, free, left)
        for position, count in newly:
            free[position] = False
            found.append(position)
            scores.append(count / len(candidates))
        left -= len(newly)
        uncovered = free.copy()
    return Choice(np.array(found, np.int64), np.array(scores), ["cover"] * len(found))


def pure_radius(candidates: Candidates, purity: float) -> float:
    """Return the largest radius at which `purity` of the candidates have rows of their own cluster
    alone nearer than that; infinity where there is one cluster, or nobody."""
    if not len(candidates):
        return math.inf
    values = candidates.values
    cluster = candidates.cluster
    nearest = np.empty(len(candidates))
    for start in range(0, len(candidates), _BLOCK_ROWS):
        stop = start + _BLOCK_ROWS
        distances = squared_distances(values[start:stop], values)
        is_own = cluster[start:stop, None] == cluster
        distances[is_own] = np.inf
        nearest[start:stop] = distances.min(axis=1)
    nearest.sort()
    # at the radius of the r-th smallest all but r neighbourhoods are pure
    share = 1.0 - purity
    impure = int(share * len(nearest) + _ROUNDING)
    distance = nearest[impure]
    return math.sqrt(distance)


def _covers(values: Matrix, radius: float) -> Bits:
    """Whom each row covers: bits (m, m / 8)."""
    blocks = []
    for start in range(0, len(values), _BLOCK_ROWS):
        block = values[start : start + _BLOCK_ROWS]
        near = squared_distances(block, values) < radius**2
        own = np.arange(len(block))
        # a row covers itself, whatever rounding says of a tiny radius
        near[own, start + own] = True
        blocks.append(np.packbits(near, axis=1))
    return np.concatenate(blocks)


def _covered_by(covers: Bits, rows: Bool) -> Bool:
    covered = np.bitwise_or.reduce(covers[rows], axis=0)
    return np.unpackbits(covered, count=len(rows)).astype(bool)


def _greedy(covers: Bits, uncovered: Bool, free: Bool, most: int) -> list[tuple[int, int]]:
    """Choose free rows as long as they cover any more: their positions, and how many each adds."""
    open_bits = np.packbits(uncovered)
    positions = np.flatnonzero(free)
    # negative, since the heap gives the smallest first; then the first of equals
    counts = -_newly(covers, positions, open_bits)
    heap = list(zip(counts.tolist(), positions.tolist(), strict=True))
    heapq.heapify(heap)
    found: list[tuple[int, int]] = []
    while heap and len(found) < most:
        count, position = heapq.heappop(heap)
        (newly,) = _newly(covers, np.array([position]), open_bits).tolist()
        now = -newly
        if now != count:
            entry = (now, position)
            heapq.heappush(heap, entry)
            continue
        if not now:
            break
        choice = (position, -now)
        found.append(choice)
        open_bits &= ~covers[position]
    return found


def _newly(covers: Bits, positions: Int64, open_bits: Bits) -> Int64:
    """How many rows that are not covered yet each of those would cover."""
    counts = np.empty(len(positions), np.int64)
    for start in range(0, len(positions), _BLOCK_ROWS):
        stop = start + _BLOCK_ROWS
        newly = covers[positions[start:stop]] & open_bits
        # an eighth of the work of unpacking the bits
        ones = _ONES[newly]
        counts[start:stop] = ones.sum(axis=1, dtype=np.int64)
    return counts
