"""Which rows of the candidates each method chooses, and what it needs of the pool for that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.core.errors import JobError
from distill.spec.selections import Balanced, Cover, Novel, Random, SelectBy, Typical, Uncertain
from distill.stages.select.candidates import Candidates, Choice, Int64
from distill.stages.select.gather import Need
from distill.stages.select.methods.balanced import shares_by_level
from distill.stages.select.methods.cover import choose_cover, pure_radius
from distill.stages.select.methods.novel import choose_novel
from distill.stages.select.methods.typical import choose_typical

_MANY = 1 << 40
_OF_CLUSTER = 4_096  # of these the distances within a cluster are 128 MiB
_COVERING = 32_768  # of these who covers whom is 128 MiB
_SPARE = 4  # candidates a row that is chosen, where some may be duplicates
_LEAST_SPARE = 64
_SPARE_SHARE = 20  # drawn rows that cannot be used are replaced by some that were drawn with them
_LEAST_CANDIDATES = 100_000
# candidates a row that is chosen: as many of each cluster as of any, so more than any gives, but
# where a cluster of the upper level has few within it
_BALANCING = 16
_LEAST_BALANCING = 1_000_000


@dataclass(frozen=True)
class Seen:
    """The clusters of the whole pool."""

    sizes: Int64  # (k,): rows of each
    parents: Int64 | None  # (k,): clusters of the level above, where there is one


def need_of(by: SelectBy, rows: int, *, duplicates: bool) -> Need:
    """Return what a method needs of a pool to choose so many rows."""
    some = max(_SPARE * rows, _LEAST_CANDIDATES) if duplicates else rows
    if isinstance(by, Random) and not duplicates:
        some = rows + max(_LEAST_SPARE, rows // _SPARE_SHARE)
    if isinstance(by, Random | Uncertain):
        return Need(values=duplicates, most=some, most_of_cluster=_MANY)
    if isinstance(by, Balanced):
        wanted = _BALANCING * rows
        most = max(wanted, _LEAST_BALANCING)
        return Need(values=duplicates, most=most, most_of_cluster=_MANY)
    if isinstance(by, Typical):
        return Need(values=True, most=_MANY, most_of_cluster=_OF_CLUSTER)
    if isinstance(by, Cover):
        return Need(values=True, most=_COVERING, most_of_cluster=_MANY)
    return Need(values=True, most=_MANY, most_of_cluster=_MANY)


def is_drawn_alike(by: SelectBy) -> bool:
    """Whether candidates are drawn of all rows alike, and not of each cluster."""
    return not isinstance(by, Typical | Balanced)


def choose(by: SelectBy, candidates: Candidates, seen: Seen, rows: int, seed: int) -> Choice:
    """Choose `rows` candidates, or as many as there are."""
    if isinstance(by, Random | Uncertain):
        return _first(by, candidates, rows)
    if isinstance(by, Typical):
        return choose_typical(candidates, rows, by.neighbours, seen.sizes)
    if isinstance(by, Cover):
        radius = by.radius or pure_radius(candidates, by.purity)
        return choose_cover(candidates, rows, radius)
    if isinstance(by, Balanced):
        return _balanced(candidates, seen, rows)
    if isinstance(by, Novel):
        return choose_novel(candidates, rows)
    cluster = candidates.cluster
    position, score = by.choose(candidates.values, cluster, candidates.is_former, rows, seed)
    _require_free(by, candidates, position)
    return Choice(position, score, [by.kind] * len(position))


def _require_free(by: SelectBy, candidates: Candidates, position: Int64) -> None:
    """Refuse what a kind from outside chose if it is no free row, or one twice. Raises JobError."""
    # the teacher would be asked about it again
    is_free = ~candidates.is_former
    free = np.flatnonzero(is_free)
    once = np.unique(position)
    if len(once) < len(position) or not np.isin(once, free).all():
        raise JobError(
            f"by = {by.kind!r}: `choose` returned positions twice, or such as are none of the"
            f" {len(candidates):,} candidates or are `chosen` already. Return each free one once."
        )


def _first(by: SelectBy, candidates: Candidates, rows: int) -> Choice:
    """Those of the smallest priority."""
    is_free = ~candidates.is_former
    free = np.flatnonzero(is_free)
    order = np.lexsort((candidates.row[free], candidates.priority[free]))
    first = order[:rows]
    position = free[first]
    reason = by.measure if isinstance(by, Uncertain) else by.kind
    return Choice(position, -candidates.priority[position], [reason] * len(position))


def _balanced(candidates: Candidates, seen: Seen, rows: int) -> Choice:
    is_free = ~candidates.is_former
    free = np.flatnonzero(is_free)
    cluster = candidates.cluster[free]
    # the pool may have no row of the last clusters, which have parents all the same
    clusters = len(seen.sizes) if seen.parents is None else len(seen.parents)
    available = np.bincount(cluster, minlength=clusters)
    quota = shares_by_level(available, seen.parents, rows)
    order = np.lexsort((candidates.row[free], candidates.priority[free], cluster))
    ordered = cluster[order]
    starts = np.searchsorted(ordered, ordered)
    rank = np.arange(len(order)) - starts
    quotas = quota[ordered]
    is_chosen = rank < quotas
    chosen = order[is_chosen]
    reason = [f"balanced, cluster {each}" for each in cluster[chosen].tolist()]
    own = cluster[chosen]
    sizes = seen.sizes[own]
    # the share of its cluster that was taken: its inverse weighs the row as the pool would
    share = quota[cluster[chosen]] / np.maximum(1, sizes)
    return Choice(free[chosen], share, reason)
