"""Rows that a label set covers twice: by two selections that share some, or by a pool and a selection
of it. The labeler is asked about them for each, since a label's address is (shard, row) of the pool
that it is labelled over. That may be wanted, and is paid for, so it is counted and told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import pyarrow as pa

from distill.plan.workspace import Workspace
from distill.pools.chosen import chosen_addresses, selection_folder
from distill.pools.formats.selection import ADDRESS_KEYS
from distill.spec.selections import selection_name


def shared_rows(workspace: Workspace, name: str, pools: Sequence[str]) -> Iterator[str]:
    """Say of each pair of the pools that `labels.<name>` covers how many rows both have."""
    for one, other in combinations(pools, 2):
        if not workspace.tables.may_share_rows(one, other):
            continue
        rows = _shared(workspace, one, other)
        if rows:
            yield (
                f"{rows:,} rows are both in {one} and in {other}, and labelled twice, once for"
                f" each. Say after = {one!r} in {other}, or let labels.{name}.over name one."
            )


def _shared(workspace: Workspace, one: str, other: str) -> int:
    tables = [_addresses(workspace, pool) for pool in (one, other)]
    found = [table for table in tables if table is not None]
    if len(found) < len(tables):  # a pool has all rows of a selection of it
        return min((len(table) for table in found), default=0)
    both = pa.concat_tables(found)
    once = both.group_by(list(ADDRESS_KEYS), use_threads=False).aggregate([])
    return len(both) - len(once)


def _addresses(workspace: Workspace, pool: str) -> pa.Table | None:
    """The addresses of a selection; None of a pool that is none."""
    name = selection_name(pool)
    if name is None:
        return None
    folder = selection_folder(workspace.root, name)
    rounds = workspace.rounds(name)
    addresses = chosen_addresses(folder, rounds)
    keys = list(ADDRESS_KEYS)
    return addresses.select(keys)
