"""Balanced sampling over a hierarchy of clusters (Vo et al. 2024, "Automatic data curation for
self-supervised learning: a clustering-based approach", §3.3).

As many rows are drawn of each cluster of the top level, as far as it has them: a cluster that has
fewer gives all, and what it lacks is shared by the others. So they are shared again by the clusters
within each. Within a cluster of the lowest level rows are drawn alike.
"""

from __future__ import annotations

import numpy as np

from distill.stages.select.candidates import Int64


def shares(sizes: Int64, rows: int) -> Int64:
    """Return how many rows each of k clusters gives (k,), of those it has (k,): as equally as they
    allow, `rows` in all or as many as there are. What does not divide goes to the largest first,
    then by number."""
    given = np.zeros_like(sizes)
    left = min(rows, int(sizes.sum()))
    while left:
        is_left = sizes > given
        has_more = np.flatnonzero(is_left)
        sharing = len(has_more)
        each = left // sharing
        if not each:
            largest_first = has_more[np.lexsort((has_more, -sizes[has_more]))]
            first = largest_first[:left]
            given[first] += 1
            break
        more = np.minimum(each, sizes[has_more] - given[has_more])
        given[has_more] += more
        left -= int(more.sum())
    return given


def shares_by_level(sizes: Int64, parents: Int64 | None, rows: int) -> Int64:
    """Return how many rows each cluster of the lowest level gives (k,). `parents` (k,) number the
    clusters of the level above; None where there is none."""
    if parents is None:
        return shares(sizes, rows)
    upper = np.bincount(parents, weights=sizes).astype(np.int64)
    given = np.zeros_like(sizes)
    for parent, quota in enumerate(shares(upper, rows).tolist()):
        is_child = parents == parent
        children = np.flatnonzero(is_child)
        given[children] = shares(sizes[children], quota)
    return given
