"""Pools: which rows there are (`inventory`), how they are read (`readers`), and what a model sees of them (`features`)."""

from __future__ import annotations

from distill.pool.features import Rows, decode_features, decode_target, feature_width, value_width
from distill.pool.inventory import Fragment, Inventory, Shard, list_shards, read_inventory, take_inventory
from distill.pool.readers import Footer, check_columns, read_footer, read_rows

__all__ = [
    "Footer",
    "Fragment",
    "Inventory",
    "Rows",
    "Shard",
    "check_columns",
    "decode_features",
    "decode_target",
    "feature_width",
    "list_shards",
    "read_footer",
    "read_inventory",
    "read_rows",
    "take_inventory",
    "value_width",
]
