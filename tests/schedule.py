"""Which process of xdist runs which test.

All tests that use the shared Ray go to one process, so that one Ray is started, and so do those
that use the two nodes; those of the benchmarks have a Ray of their own, since together they would
take longer than all else beside them. They begin first; the others of their files go to whoever is
free, and the files begin first that take long by themselves: one that began last would run on alone.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
_RAY = "the shared Ray"
_FIXTURES = {
    "ray": _RAY,
    "shared_ray": _RAY,
    "joining": _RAY,
    "two_nodes": "the two nodes",
}
"""What is shared by which fixture."""
_BENCHMARKS = REPOSITORY / "tests" / "benchmarks"
_MENTIONED = re.compile(rf"\b({'|'.join(_FIXTURES)})\b")
_BY_NAME = ("usefixtures", "getfixturevalue")
_LONGEST = (
    "chaos/test_chaos.py",
    "engine/ray/submission/test_on_a_cluster.py",
    "stages/export/test_onnx_file.py",
    "jobs/test_digits.py",
    "cluster/test_local.py",
    "run/test_costs.py",
    "cluster/test_autoscaling.py",
    "stages/export/test_forms.py",
    "stages/select/test_rounds.py",
    "stages/label/test_faults.py",
    "engine/ray/test_head_restart.py",
    "jobs/test_examples.py",
    "storage/test_ending.py",
    "stages/label/test_label_parts.py",
    "stages/select/test_select_rows.py",
    "jobs/test_topics.py",
    "stages/apply/test_apply.py",
    "stages/report/test_in_chromium.py",
    "stages/report/test_write_report.py",
    "stages/export/test_alone.py",
    "storage/test_direct_answers.py",
    "storage/test_faults.py",
)
"""Files of 40 s and more, longest first, without what they do on what is shared."""


@functools.cache
def users_of_shared(file: Path) -> dict[str, str]:
    """Return the functions of a file, tests and fixtures, that take a fixture of what is shared, by
    themselves or by another fixture of the file; and what that is."""
    source = file.read_text("utf-8")
    # to parse all files would take a second in each process of xdist
    if not _MENTIONED.search(source):
        return {}
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    taken = {node.name: set(_fixtures_taken(node)) for node in functions}
    users = dict(_FIXTURES)
    known = 0
    while known < len(users):
        known = len(users)
        for name, fixtures in taken.items():
            for fixture in sorted(fixtures & users.keys()):
                users.setdefault(name, users[fixture])
    return users


def _fixtures_taken(function: ast.FunctionDef) -> Iterator[str]:
    """Each argument's name; and the constants in calls that take a fixture by its name."""
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(_BY_NAME):
            yield from (each.value for each in node.args if isinstance(each, ast.Constant))


def shared_by(nodeid: str) -> str:
    """Return what a test shares with others, "" for nothing; all parameters of one go together."""
    name, _, test = nodeid.partition("[")[0].partition("::")
    file = REPOSITORY / name
    shared = users_of_shared(file).get(test, "")
    return f"{shared} of benchmarks" if shared and file.parent == _BENCHMARKS else shared


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
        if {"shared_ray", "two_nodes"} & {*item.fixturenames} and not shared_by(item.nodeid):
            raise pytest.UsageError(f"{item.nodeid} takes what is shared in a way that is not seen")
    begin = {REPOSITORY / "tests" / file: number for number, file in enumerate(_LONGEST)}
    for item in items:
        if item.get_closest_marker("ray"):
            begin.setdefault(item.path, len(_LONGEST))
    items.sort(key=lambda item: (not shared_by(item.nodeid), begin.get(item.path, len(begin))))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hook of pytest-xdist."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class OneOfEach(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return shared_by(nodeid) or super()._split_scope(nodeid)

    return OneOfEach(config, log)
