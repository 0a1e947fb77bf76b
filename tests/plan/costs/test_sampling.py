"""Every row has the same chance to be in a pilot, and the draw is the same whenever it is made."""

from __future__ import annotations

from collections import Counter

import numpy as np

from distill.plan.costs.sampling import draw_fragments, pilot_size
from distill.pools.inventory import Inventory
from tests.plan.costs.inventories import inventory_of


def drawn(inventory: Inventory, seed: int, asked: int = 8) -> list[int]:
    (found,) = draw_fragments([("rows", inventory)], 100, asked, seed)
    return found.codes.tolist()


def test_a_draw_is_another_when_made_again():
    inventory = inventory_of([1000] * 20)
    assert drawn(inventory, 3) == drawn(inventory, 3)
    assert drawn(inventory, 3) != drawn(inventory, 4)
    assert len(drawn(inventory, 3)) == 8


def test_small_shards_are_never_or_always_drawn():
    """A large shard of 10,000 rows, and 100 of 100 rows: half of the draws is of each."""
    inventory = inventory_of([10_000] + [100] * 100)
    found = [code >> 24 for seed in range(50) for code in drawn(inventory, seed)]
    share = np.mean([shard == 0 for shard in found])
    assert 0.45 < share < 0.55
    small = Counter(shard for shard in found if shard)
    assert max(small.values()) <= 10


def test_a_pilot_labels_the_whole_pool():
    assert pilot_size(16, 1000) == 16
    assert pilot_size(16, 40) == 10
    assert pilot_size(16, 3) == 2
    assert pilot_size(16, 1) == 1
    assert pilot_size(16, 0) == 0


def test_an_empty_pool_ends_the_draw():
    (empty, full) = draw_fragments(
        [("empty", inventory_of([])), ("full", inventory_of([500]))], 100, 4, 0
    )
    assert empty.codes.tolist() == []
    assert len(full.codes) == 2
