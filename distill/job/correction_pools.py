"""The pools that people's corrections make: rows of another pool, with other targets."""

from __future__ import annotations

from collections.abc import Mapping

from distill.pools.corrections import corrections_path
from distill.pools.formats.corrected import CorrectedShard
from distill.spec.pools import Pool


def correction_pools(pools: Mapping[str, Pool]) -> dict[str, Pool]:
    """Return the pools whose files are corrections, as the rows of other pools that they are."""
    found = {}
    for name, pool in pools.items():
        if pool.corrects is None:
            continue
        base = pools.get(pool.corrects.removeprefix("pools."))
        # else it is refused with all other names that nothing has
        if base is not None and base.corrects is None:
            folder = corrections_path(name)
            path = f"{{root}}/{folder}"
            found[name] = pool.as_corrections(path, CorrectedShard.name, base)
    return found
