"""`list`: what files the pools of a job have, before anything else looks at them."""

from __future__ import annotations

from distill.list.stage import list_pools

__all__ = ["list_pools"]
