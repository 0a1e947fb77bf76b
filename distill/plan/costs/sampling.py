"""Which fragments of a label set a pilot labels: drawn by a seed from all of its pools together,
the same whenever they are drawn, so that a pilot is never paid for twice.

Fragments are laid out by the size of their shard, and in random order among equal ones. All of it
is cut into as many equal runs of rows as fragments are wanted, and of each run the fragment of one
random row is taken. So every row has the same chance, large and small shards come in their
proportion, and the draw takes O(fragments) however many rows there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill.labels.manifest import Integers, fragment_codes
from distill.pools.inventory import Inventory

_SHARE = 4  # a pilot labels at most one of so many fragments, but two


@dataclass(frozen=True)
class Drawn:
    """Fragments of one pool."""

    pool: str
    codes: Integers  # as the manifest numbers them, ascending


def pilot_size(asked: int, fragments: int) -> int:
    """Return how many fragments of so many are drawn where `asked` are asked for."""
    return min(asked, max(2, fragments // _SHARE), fragments)


def draw_fragments(
    pools: Sequence[tuple[str, Inventory]], fragment_rows: int, asked: int, seed: int
) -> list[Drawn]:
    """Draw up to `asked` fragments of some pools together."""
    cut = [_Cut.of(name, inventory, fragment_rows) for name, inventory in pools]
    rows = np.concatenate([each.rows for each in cut])
    sizes = np.concatenate([each.shard_rows for each in cut])
    chosen = _draw(rows, sizes, asked, seed)
    drawn = []
    first = 0
    for each in cut:
        end = first + len(each.rows)
        is_mine = (chosen >= first) & (chosen < end)
        mine = chosen[is_mine] - first
        picked = each.codes[mine]
        codes = np.sort(picked)
        drawn.append(Drawn(each.pool, codes))
        first = end
    return drawn


@dataclass(frozen=True)
class _Cut:
    """The fragments of one pool, in columns."""

    pool: str
    codes: Integers
    rows: Integers
    shard_rows: Integers  # of the shard that each is of

    @classmethod
    def of(cls, pool: str, inventory: Inventory, fragment_rows: int) -> _Cut:
        table = inventory.fragment_table(fragment_rows)
        codes = fragment_codes(table.shard, table.number)
        shard_rows = inventory.shard_rows[table.shard]
        return cls(pool, codes, table.rows, shard_rows)


def _draw(rows: Integers, sizes: Integers, asked: int, seed: int) -> Integers:
    """Positions of the fragments that are drawn, ascending, each once."""
    total = len(rows)
    if not total:
        return np.zeros(0, np.int64)
    draw = np.random.default_rng([seed, total])
    # shuffled first, so that equal shards stand in no order that means anything
    shuffled = draw.permutation(total)
    by_size = np.argsort(sizes[shuffled], kind="stable")
    order = shuffled[by_size]
    ordered = rows[order]
    ends = np.cumsum(ordered)
    count = pilot_size(asked, total)
    within = draw.random(count)
    shares = (np.arange(count) + within) / count
    places = np.searchsorted(ends, shares * ends[-1], side="right")
    # a share that rounds up to the whole is beyond the last one
    places = np.minimum(places, total - 1)
    # a fragment that is larger than a run of rows may be found twice
    drawn = order[places]
    return np.unique(drawn)
