"""A key figure of the page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """One key figure."""

    head: str
    value: str
    note: str
    spread: str = ""
