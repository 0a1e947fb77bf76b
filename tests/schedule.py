"""Which process of xdist runs which test.

All tests that use the shared Ray go to one process, so that one Ray is started. They begin first,
since together they take longest; the others of their files go to whoever is free, and the files
begin first that take long by themselves: one that began last would run on alone.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
_FIXTURES = {"ray", "shared_ray", "joining"}
_MENTIONED = re.compile(rf"\b({'|'.join(_FIXTURES)})\b")
_BY_NAME = ("usefixtures", "getfixturevalue")
_LONGEST = (
    "chaos/test_chaos.py",
    "jobs/test_digits.py",
    "engine/ray/submission/test_on_a_cluster.py",
    "stages/train/test_elastic.py",
    "cluster/test_local.py",
    "jobs/test_examples.py",
    "run/test_costs.py",
    "cluster/test_autoscaling.py",
    "test_wheel.py",
    "stages/label/test_faults.py",
    "stages/label/test_label_parts.py",
    "stages/export/test_forms.py",
    "jobs/test_topics.py",
)
"""Files of a minute and more, longest first."""


@functools.cache
def users_of_shared_ray(file: Path) -> frozenset[str]:
    """Return the functions of a file, tests and fixtures, that take a fixture of the shared Ray, by
    themselves or by another fixture of the file."""
    source = file.read_text("utf-8")
    # to parse all files would take a second in each process of xdist
    if not _MENTIONED.search(source):
        return frozenset()
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    taken = {node.name: set(_fixtures_taken(node)) for node in functions}
    users = set(_FIXTURES)
    while more := {name for name, fixtures in taken.items() if fixtures & users} - users:
        users |= more
    return frozenset(users)


def _fixtures_taken(function: ast.FunctionDef) -> Iterator[str]:
    """Each argument's name; and the constants in calls that take a fixture by its name."""
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(_BY_NAME):
            yield from (each.value for each in node.args if isinstance(each, ast.Constant))


def uses_shared_ray(nodeid: str) -> bool:
    """Return whether a test may ask for the shared Ray; all parameters of one go together."""
    file, _, test = nodeid.partition("[")[0].partition("::")
    return test in users_of_shared_ray(REPOSITORY / file)


@pytest.hookimpl
def pytest_ignore_collect(collection_path, config):
    """A file without a slow test is not imported where only those are asked for."""
    is_file = collection_path.suffix == ".py" and collection_path.name.startswith("test_")
    if config.option.markexpr == "slow" and is_file:
        return "slow" not in collection_path.read_text("utf-8") or None
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if "shared_ray" in item.fixturenames and not uses_shared_ray(item.nodeid):
            raise pytest.UsageError(f"{item.nodeid} takes the shared Ray in a way that is not seen")
    begin = {REPOSITORY / "tests" / file: number for number, file in enumerate(_LONGEST)}
    for item in items:
        if item.get_closest_marker("ray"):
            begin.setdefault(item.path, len(_LONGEST))
    items.sort(
        key=lambda item: (not uses_shared_ray(item.nodeid), begin.get(item.path, len(begin)))
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hook of pytest-xdist."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class OneRay(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return "the shared Ray" if uses_shared_ray(nodeid) else super()._split_scope(nodeid)

    return OneRay(config, log)
