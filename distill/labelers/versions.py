"""Versions of the libraries that decide what a labeler answers."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from distill.labelers.base import Recipe
from distill.labelers.registry import libraries_of

_RECORDED = ("distill", "numpy", "pyarrow", "torch", "ray")


def library_versions(recipe: Recipe | None = None) -> dict[str, str]:
    """What is recorded beside a contract and in each commit: what decides a labeler's answers."""
    decoder = ["pillow"] if find_spec("PIL") else []  # it decodes and resizes images
    names = [*_RECORDED, *decoder, *(libraries_of(recipe) if recipe else [])]
    return {"python": platform.python_version(), **{name: _version(name) for name in names}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # labels are read on machines without their labeler's library
        return "none"
