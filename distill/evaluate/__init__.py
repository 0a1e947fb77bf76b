"""`distill evaluate`: students judged against teacher, truth and each other, on the same rows."""

from __future__ import annotations

from distill.evaluate.stage import evaluate_students

__all__ = ["evaluate_students"]
