"""Pools: which rows there are (`inventory`), how they are read (`formats`), and what a model sees of them (`features`)."""

from __future__ import annotations

from distill.pool.cut import WHOLE, FragmentTable, fragment_id
from distill.pool.features import Rows, as_matrix, decode_features, decode_target, feature_width, writable
from distill.pool.footers import Footing, look_at, read_footers
from distill.pool.formats import (
    INDEXED,
    Copied,
    Footer,
    RowReader,
    Taken,
    check_columns,
    check_keys,
    pool_format,
    read_footer,
    read_rows,
    without_ending,
)
from distill.pool.held import HELD_BYTES, Held, read_chunk
from distill.pool.inventory import Fragment, Inventory, Shard, read_inventory
from distill.pool.kept import kept
from distill.pool.listing import MADE_MARKER, list_shards, take_inventory
from distill.pool.make import claim_folder, delete_stale, make_pool, maker
from distill.pool.ngrams import ngram_places
from distill.pool.numbers import value_width
from distill.pool.open import OpenPool, check_pools, known_inventory, open_pool

__all__ = [
    "HELD_BYTES",
    "INDEXED",
    "MADE_MARKER",
    "WHOLE",
    "Copied",
    "Footer",
    "Footing",
    "Fragment",
    "FragmentTable",
    "Held",
    "Inventory",
    "OpenPool",
    "RowReader",
    "Rows",
    "Shard",
    "Taken",
    "as_matrix",
    "check_columns",
    "check_keys",
    "check_pools",
    "claim_folder",
    "decode_features",
    "decode_target",
    "delete_stale",
    "feature_width",
    "fragment_id",
    "kept",
    "known_inventory",
    "list_shards",
    "look_at",
    "make_pool",
    "maker",
    "ngram_places",
    "open_pool",
    "pool_format",
    "read_chunk",
    "read_footer",
    "read_footers",
    "read_inventory",
    "read_rows",
    "take_inventory",
    "value_width",
    "without_ending",
    "writable",
]
