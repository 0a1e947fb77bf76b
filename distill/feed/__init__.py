"""What a student sees: pool ⋈ label sets by row range (`source`), in an order that is a pure function (`order`), read ahead (`feed`)."""

from __future__ import annotations

from distill.feed.feed import Feed
from distill.feed.order import Chunk, Order, cut_chunks
from distill.feed.source import Arrays, LabelColumn, Source, TargetColumn

__all__ = ["Arrays", "Chunk", "Feed", "LabelColumn", "Order", "Source", "TargetColumn", "cut_chunks"]
