"""Near-duplicates within clusters (SemDeDup, Abbas et al. 2023, alg. 1).

Rows of a cluster are put in order, those furthest from its centre by cosine first (the paper keeps
the least prototypical row of each group). A row is a duplicate where its cosine with any row before
it is above the threshold. Rows of former selections come first of all: what is alike to one of them
is not bought again.

Memory: the cluster in float64 and the cosines of a block of its rows, 64 MiB.
"""

from __future__ import annotations

import numpy as np

from distill.labelers.structure.rows import unit_length
from distill.stages.select.candidates import Bool, Candidates, Int64

_BLOCK_ROWS = 512
_BLOCK_NUMBERS = 1 << 23


def find_duplicates(candidates: Candidates, threshold: float) -> Bool:
    """Find the rows (m,) that are more alike than `threshold` to a row that stays."""
    found = np.zeros(len(candidates), bool)
    # stable, so that rows of a cluster stay in their order
    order = np.argsort(candidates.cluster, kind="stable")
    ordered = candidates.cluster[order]
    steps = np.diff(ordered)
    last = np.flatnonzero(steps)
    for members in np.split(order, last + 1):
        if len(members) > 1:
            found[members] = _of_cluster(candidates, members, threshold)
    return found & ~candidates.is_former


def _of_cluster(candidates: Candidates, members: Int64, threshold: float) -> Bool:
    values = candidates.values[members].astype(np.float64)
    centre = values.mean(axis=0)
    rows = unit_length(values)
    # its length changes no order, so the centre needs no unit length
    likeness = rows @ centre
    former = candidates.is_former[members]
    is_new = ~former
    # the last key counts first
    keys = (members, likeness, is_new)
    order = np.lexsort(keys)
    ordered = rows[order]
    repeats = np.zeros(len(members), bool)
    block_rows = max(1, min(_BLOCK_ROWS, _BLOCK_NUMBERS // len(ordered)))
    for start in range(0, len(ordered), block_rows):
        block = ordered[start : start + block_rows]
        stop = start + len(block)
        compared = ordered[:stop]
        cosines = block @ compared.T
        # a row is compared with those before it alone
        before = np.tri(len(block), stop, start - 1, dtype=bool)
        is_near = cosines > threshold
        is_alike = is_near & before
        repeats[start:stop] = is_alike.any(axis=1)
    found = np.empty_like(repeats)
    found[order] = repeats
    return found
