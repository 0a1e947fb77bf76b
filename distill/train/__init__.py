"""`distill train`: networks taught by a weighted sum of terms, data-parallel, resumable. Fits by gradients go the same way."""

from __future__ import annotations

from distill.train.stage import train_fits, train_student, train_students

__all__ = ["train_fits", "train_student", "train_students"]
