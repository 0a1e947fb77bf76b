from __future__ import annotations

from tests.engine.conftest import ray

__all__ = ["ray"]
