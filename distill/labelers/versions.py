"""Versions of the libraries that decide what a labeler's outputs are."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from distill.labelers.recipe import Recipe
from distill.labelers.registry import libraries_of

# ray, since it sets how many threads an actor's BLAS has; pyarrow, since it decodes
_RECORDED = ("distill", "numpy", "pyarrow", "torch", "ray")


def library_versions(recipe: Recipe | None = None) -> dict[str, str]:
    """Return what is recorded beside a contract and in each commit: the version of Python, and of
    each library that decides a labeler's outputs."""
    names = list(_RECORDED)
    if find_spec("PIL"):
        names.append("pillow")  # it decodes and resizes images
    if recipe is not None:
        found = libraries_of(recipe)
        names.extend(found)
    python = platform.python_version()
    versions = {"python": python}
    for name in names:
        versions[name] = _version(name)
    return versions


@cache
def _version(name: str) -> str:
    # parses a file of metadata: 5 ms, at each start of a worker
    try:
        return version(name)
    except PackageNotFoundError:  # labels are read on machines without their labeler's library
        return "none"
