"""Which process of xdist runs which file: all that use the shared Ray go to one, so that one Ray is
started, and they begin first, since together they take longest."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@functools.cache
def uses_shared_ray(file: Path) -> bool:
    """Return whether a test or fixture in a file takes one of the fixtures of the shared Ray."""
    taken = set[str]()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.arg):
            taken.add(node.arg)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("usefixtures"):
            taken.update(each.value for each in node.args if isinstance(each, ast.Constant))
    return not {"ray", "shared_ray", "joining"}.isdisjoint(taken)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    long = {item.path for item in items if item.get_closest_marker("ray")}
    items.sort(key=lambda item: (not uses_shared_ray(item.path), item.path not in long))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hook of pytest-xdist."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class OneRay(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "the shared Ray" if uses_shared_ray(REPOSITORY / file) else file

    return OneRay(config, log)
