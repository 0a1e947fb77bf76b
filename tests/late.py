"""Libraries that few tests use: imported by the one process that runs these, not by each that
collects them."""

from __future__ import annotations

import importlib
from typing import Any


class Late:
    """A module, imported when something of it is first used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)
