"""Which rows of a label set teachers are asked about: a pure function of the rows' numbers.

Every row of a pool has a number: those of the shards before it, retired ones too, and its own in
its shard. Growth appends, and a file that changed is another shard with later numbers, so a number
means one row for good and is asked about once at the most. Those below `asked` are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from distill.core.dp.allowance import Allowance
from distill.labels.commit import WriteIntent
from distill.pools.inventory import Inventory


@dataclass(frozen=True)
class Quota:
    """What is allowed of one fragment."""

    asked: int  # of its rows, the first so many
    answered: int


@dataclass(frozen=True)
class AskedRows:
    """What is allowed of a label set, as workers need it."""

    account: str  # URI of the folder where answers are kept
    label_set: str
    allowance: Allowance
    # number of the first row of each shard that has any that is asked about
    first_rows: Mapping[int, int]

    def quota(self, intent: WriteIntent) -> Quota:
        """Return what is allowed of a fragment."""
        first_row = self.first_rows.get(intent.shard)
        if first_row is None:
            return Quota(0, 0)
        begin = first_row + intent.start
        end = min(begin + intent.rows, self.allowance.asked)
        if end <= begin:
            return Quota(0, 0)
        before = self.allowance.answers_before(begin)
        return Quota(end - begin, self.allowance.answers_before(end) - before)


def first_rows(inventory: Inventory, asked: int) -> dict[int, int]:
    """Return the number of the first row of each shard that begins before `asked`."""
    rows = inventory.table["rows"].to_numpy()
    begins = np.cumsum(rows) - rows
    shards = np.flatnonzero(begins < asked)
    return {int(shard): int(begins[shard]) for shard in shards}
