"""What a student sees: pool ⋈ label sets by row range (`source`), in an order that is a pure function (`order`), read ahead (`feed`), and kept
near where it fits (`cache`, `disk_cache`)."""

from __future__ import annotations

from distill.feed.cache import ChunkCache
from distill.feed.disk_cache import DiskCache
from distill.feed.feed import Feed
from distill.feed.order import Chunk, Order, cut_chunks
from distill.feed.row_weight import balancing_weights
from distill.feed.source import Arrays, LabelColumn, Source, TargetColumn

__all__ = [
    "Arrays",
    "Chunk",
    "ChunkCache",
    "DiskCache",
    "Feed",
    "LabelColumn",
    "Order",
    "Source",
    "TargetColumn",
    "balancing_weights",
    "cut_chunks",
]
