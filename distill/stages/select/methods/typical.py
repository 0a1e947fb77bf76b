"""TypiClust (Hacohen, Dekel & Weinshall 2022, "Active learning on a budget").

The typicality of a row is 1 over the mean Euclidean distance to its 20 nearest rows of the same
cluster (eq. 1), or to half of the cluster's rows where it has fewer than 40. Clusters are gone
through in turn: those of which a former selection has the fewest rows first, among them the largest
first. A cluster gives its most typical row, which then counts neither as a candidate nor as a
neighbour; clusters of 5 rows or fewer come when the others have no row left (the authors' code
leaves them out altogether).

Memory: the distances within one cluster, 8·m² bytes, and two copies while the first choice is made
(0.4 GiB at the sample's 4,096 rows).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from distill.labelers.base import Matrix
from distill.labelers.structure.rows import squared_distances
from distill.stages.select.candidates import Candidates, Choice, Float64, Int64

_SMALL_CLUSTER = 5
_LEAST = 1e-5  # added to a mean distance, so that equal rows have a typicality


def choose_typical(candidates: Candidates, rows: int, neighbours: int, sizes: Int64) -> Choice:
    """Choose `rows` candidates, or as many as there are. `sizes` (k,) are the rows of each cluster
    in the whole pool."""
    free = ~candidates.is_former
    clusters = len(sizes)
    cluster_of = candidates.cluster
    available = np.bincount(cluster_of[free], minlength=clusters)
    former = np.bincount(cluster_of[~free], minlength=clusters)
    turns = list(_turns(available, former, sizes, rows))
    chosen_of = np.array(turns, np.int64)
    picks = np.bincount(chosen_of, minlength=clusters)
    found = {}
    # cluster by cluster, and not in turns: memory then holds the distances within one
    for cluster in np.flatnonzero(picks).tolist():
        is_member = cluster_of == cluster
        usable = free & is_member
        members = np.flatnonzero(usable)
        values = candidates.values[members]
        wanted = picks[cluster]
        most = int(wanted)
        offsets, scores = _most_typical(values, most, neighbours)
        positions = members[offsets].tolist()
        found[cluster] = zip(positions, scores.tolist(), strict=True)
    chosen = [next(found[cluster]) for cluster in turns]
    position = np.array([each for each, _ in chosen], np.int64)
    score = np.array([each for _, each in chosen], np.float64)
    reason = [f"typical of cluster {cluster}" for cluster in turns]
    return Choice(position, score, reason)


def _turns(available: Int64, former: Int64, sizes: Int64, rows: int) -> Iterator[int]:
    """Yield the cluster of each choice."""
    keys = (-sizes, former)
    order = np.lexsort(keys)
    ordered = sizes[order]
    is_small = ordered <= _SMALL_CLUSTER
    left = rows
    for group in (order[~is_small], order[is_small]):
        turn = 0
        while left:
            has_row = available[group] > turn
            groups = group[has_row]
            has_more = groups[:left]
            if not len(has_more):
                break
            yield from has_more.tolist()
            left -= len(has_more)
            turn += 1


def _most_typical(values: Matrix, most: int, neighbours: int) -> tuple[Int64, Float64]:
    """The most typical rows of one cluster, one after the other, and how typical each was."""
    squares = squared_distances(values, values)
    distances = np.sqrt(squares, out=squares)
    np.fill_diagonal(distances, np.inf)
    left = len(values)
    used = 0
    typicality = np.zeros(len(values))
    reach = np.zeros(len(values))  # how far each row's last neighbour is
    offsets = np.empty(most, np.int64)
    scores = np.empty(most)
    stale = np.arange(len(values))
    for number in range(most):
        half = left // 2
        count = min(neighbours, half)
        if count != used:
            # of a small cluster each choice changes how many neighbours count
            stale = np.flatnonzero(typicality > -np.inf)
            used = count
        typicality[stale], reach[stale] = _typicality(distances[stale], count)
        best = int(np.argmax(typicality))
        offsets[number] = best
        scores[number] = typicality[best]
        # only rows that had it for a neighbour need to be looked at again: some 20 of thousands
        was_near = distances[:, best] <= reach
        distances[:, best] = np.inf
        typicality[best] = -np.inf
        is_left = typicality > -np.inf
        is_stale = was_near & is_left
        stale = np.flatnonzero(is_stale)
        left -= 1
    return offsets, scores


def _typicality(distances: Float64, count: int) -> tuple[Float64, Float64]:
    """How typical rows are, by their distances to all others, and how far the last neighbour is."""
    if not count or not len(distances):
        nothing = np.zeros(len(distances))
        return nothing, nothing
    nearest = np.partition(distances, count - 1, axis=1)[:, :count]
    # sorted, so that the mean of the same numbers has the same last bits
    nearest.sort(axis=1)
    means: Float64 = nearest.mean(axis=1)
    return 1.0 / (means + _LEAST), nearest[:, -1]
