"""Labelers: everything that can teach. `base` has the protocol; each kind has a file of its own."""

from __future__ import annotations

from distill.labelers.base import Answers, Labeler, Recipe, ask, checked_answer, finished, finishes, prepared, say
from distill.labelers.build import build_labeler

__all__ = [
    "Answers",
    "Labeler",
    "Recipe",
    "ask",
    "build_labeler",
    "checked_answer",
    "finished",
    "finishes",
    "prepared",
    "say",
]
