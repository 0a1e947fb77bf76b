"""Inventories of files that are nowhere."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from distill.core.schema import INVENTORY, table_bytes
from distill.pools.formats.open import format_named
from distill.pools.inventory import Inventory, read_inventory
from distill.storage.base import Storage


def inventory_table(shard_rows: Sequence[int], group_rows: int) -> pa.Table:
    """Parquet files of so many rows, in row groups."""
    lines = []
    for number, rows in enumerate(shard_rows):
        groups = [group_rows] * (rows // group_rows)
        if rows % group_rows:
            groups.append(rows % group_rows)
        lines.append(
            {
                "number": number,
                "key": f"part-{number:06d}.parquet",
                "id": f"{number:032x}",
                "bytes": 10 * rows,
                "rows": rows,
                "row_groups": groups,
                "format": "parquet",
                "retires": None,
            }
        )
    return pa.Table.from_pylist(lines, INVENTORY)


def inventory_of(shard_rows: Sequence[int], group_rows: int = 100) -> Inventory:
    """An inventory in memory."""
    table = inventory_table(shard_rows, group_rows)
    assert format_named("parquet").indexed
    return Inventory("rows", "/nowhere", "parquet", "digest", 1, table)


def store_inventory(
    root: Storage, pool: str, shard_rows: Sequence[int], group_rows: int
) -> Inventory:
    """An inventory as a listing of such files would have left it."""
    content = table_bytes(inventory_table(shard_rows, group_rows))
    root.folder("inventories", pool).put("000000.arrow", content)
    stored = read_inventory(root, pool, "/nowhere")
    assert stored is not None
    return stored
