"""Pools: which rows there are (`inventory`), how they are read (`readers`), and what a model sees of them (`features`)."""

from __future__ import annotations

from distill.pool.features import Rows, decode_features, decode_target, feature_width, value_width
from distill.pool.inventory import Fragment, Inventory, Shard, list_shards, read_inventory, take_inventory
from distill.pool.make import make_pool
from distill.pool.open import OpenPool, check_pools, open_pool
from distill.pool.readers import Footer, GroupCache, check_columns, read_footer, read_rows

__all__ = [
    "Footer",
    "Fragment",
    "GroupCache",
    "Inventory",
    "OpenPool",
    "Rows",
    "Shard",
    "check_columns",
    "check_pools",
    "decode_features",
    "decode_target",
    "feature_width",
    "list_shards",
    "make_pool",
    "open_pool",
    "read_footer",
    "read_inventory",
    "read_rows",
    "take_inventory",
    "value_width",
]
