"""Which fragments of a label set a pilot labels: drawn by a seed from all of its pools together, the
same whenever they are drawn, so that a pilot is never paid for twice.

Fragments are laid out by the size of their shard, and in random order among equal ones. The whole is
cut into as many equal runs of rows as fragments are wanted, and of each run the fragment of one
random row is taken. So every row has the same chance, large and small shards come in their
proportion, and the draw takes O(fragments) however many rows there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.labels.manifest import fragment_codes
from distill.pools.inventory import Inventory

_SHARE = 4
"""A pilot labels at most one of so many fragments, but two."""


@dataclass(frozen=True)
class Drawn:
    """Fragments of one pool."""

    pool: str
    codes: npt.NDArray[np.int64]
    """As the manifest numbers them, ascending."""


def pilot_size(asked: int, fragments: int) -> int:
    """Return how many fragments of so many are drawn where `asked` are asked for."""
    return min(asked, max(2, fragments // _SHARE), fragments)


def draw_fragments(
    pools: Sequence[tuple[str, Inventory]], fragment_rows: int, asked: int, seed: int
) -> list[Drawn]:
    """Draw up to `asked` fragments of some pools together."""
    tables = [inventory.fragment_table(fragment_rows) for _, inventory in pools]
    rows = np.concatenate([table.rows for table in tables])
    if not len(rows):
        return [Drawn(name, np.zeros(0, np.int64)) for name, _ in pools]
    sizes = [
        inventory.shard_rows[table.shard]
        for (_, inventory), table in zip(pools, tables, strict=True)
    ]
    codes = [fragment_codes(table.shard, table.number) for table in tables]
    pool_numbers = np.repeat(np.arange(len(pools)), [len(each) for each in codes])
    all_codes = np.concatenate(codes)
    draw = np.random.default_rng([seed, len(rows)])
    shuffled = draw.permutation(len(rows))
    order = shuffled[np.argsort(np.concatenate(sizes)[shuffled], kind="stable")]
    ends = np.cumsum(rows[order])
    count = pilot_size(asked, len(rows))
    points = (np.arange(count) + draw.random(count)) / count * ends[-1]
    found = np.searchsorted(ends, points, side="right")
    chosen = np.unique(order[np.minimum(found, len(rows) - 1)])
    drawn = []
    for number, (name, _) in enumerate(pools):
        mine = chosen[pool_numbers[chosen] == number]
        drawn.append(Drawn(name, np.sort(all_codes[mine])))
    return drawn
