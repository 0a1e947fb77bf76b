"""Labelers: everything that can teach. `base` has the protocol; each kind has a file of its own."""

from __future__ import annotations

from distill.labelers.base import Labeler, Recipe, checked_answer
from distill.labelers.build import build_labeler

__all__ = ["Labeler", "Recipe", "build_labeler", "checked_answer"]
