"""Pools: which rows there are (`inventory`), how they are read (`readers`), and what a model sees of them (`features`)."""

from __future__ import annotations

from distill.pool.cut import WHOLE, FragmentTable, fragment_id
from distill.pool.features import Rows, decode_features, decode_target, feature_width, value_width
from distill.pool.footers import Footing, look_at, read_footers
from distill.pool.inventory import INDEXED, Fragment, Inventory, Shard, read_inventory
from distill.pool.listing import list_shards, take_inventory
from distill.pool.make import make_pool
from distill.pool.open import OpenPool, check_pools, known_inventory, open_pool
from distill.pool.readers import Footer, check_columns, read_footer, read_rows

__all__ = [
    "INDEXED",
    "WHOLE",
    "Footer",
    "Footing",
    "Fragment",
    "FragmentTable",
    "Inventory",
    "OpenPool",
    "Rows",
    "Shard",
    "check_columns",
    "check_pools",
    "decode_features",
    "decode_target",
    "feature_width",
    "fragment_id",
    "known_inventory",
    "list_shards",
    "look_at",
    "make_pool",
    "open_pool",
    "read_footer",
    "read_footers",
    "read_inventory",
    "read_rows",
    "take_inventory",
    "value_width",
]
