"""The pools that selections make: each is used by the name `select.NAME` wherever a pool is named."""

from __future__ import annotations

from collections.abc import Mapping

from distill.pools.chosen import rows_path
from distill.pools.formats.selection import ADDRESS_KEYS, SelectionShard
from distill.spec.pools import Pool
from distill.spec.selections import SELECT, Select


def selection_pools(selections: Mapping[str, Select], pools: Mapping[str, Pool]) -> dict[str, Pool]:
    """Return the pools that selections make, under their names: rows of another pool, with their
    addresses in it as keys."""
    found = {}
    for name, select in selections.items():
        base = pools.get(select.pool)
        if base is None:
            continue  # refused with all other names that nothing has
        made = {
            "path": f"{{root}}/{rows_path(name)}",
            "format": SelectionShard.name,
            "csv": None,
            "made_by": None,
            "on_change": "refuse",
            "keys": (*base.keys, *ADDRESS_KEYS),
        }
        found[f"{SELECT}{name}"] = base.model_copy(update=made)
    return found
