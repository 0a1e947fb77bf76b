"""Classes of a plugin file on workers that have never seen it; on training workers, in
tests/test_plugins.py."""

from __future__ import annotations

import operator

import pytest

from distill.core.plugins import load_plugins, loaded_plugins
from distill.core.source import PythonFile
from distill.engine.ray.engine import RayEngine
from distill.engine.ray.shipping import ship, unpack
from distill.spec.labels import Compute
from tests.engine.working import Bar

ENGINE = RayEngine()
_FILE = """
class Kind:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, number):
        return self.factor * number

    def rows(self, count):
        for number in range(count):
            yield Kind(number)

    def make(self, config, device, stream):
        def work(task):
            return {"sum": sum(kind(self.factor) for kind in stream(config.rows, task["count"]))}

        return work

    def nine(self):
        return self(3)
"""


@pytest.fixture
def kind(tmp_path, monkeypatch):
    """A class of a file that no worker has run, since its path and its text are new."""
    monkeypatch.setattr("distill.core.plugins._loaded", {})
    file = PythonFile(str(tmp_path / "kinds.py"), f"# {tmp_path}{_FILE}")
    load_plugins([file])
    return file.load("Kind")(3)


@pytest.mark.ray
@pytest.mark.usefixtures("ray")
def test_a_plugins_class_is_unknown_to_the_tasks_of_a_fold(kind):
    assert ENGINE.fold("sum", kind, [1, 2, 3], operator.add) == 18
    assert sum(item.factor for item in ENGINE.fold("sum", _listed, [kind, kind], operator.add)) == 6


@pytest.mark.ray
@pytest.mark.usefixtures("ray")
def test_a_plugins_function_is_unknown_to_a_call(kind):
    assert ENGINE.call(kind.nine) == 9


@pytest.mark.ray
@pytest.mark.usefixtures("ray")
def test_a_plugins_class_is_unknown_to_an_actor_or_to_what_feeds_it(kind):
    compute = Compute(prepare_on="cluster", prepare_cpus=0.5, cpus=0.5)
    results = ENGINE.map(kind.make, kind, [[{"count": 4}]], compute, Bar())
    assert list(results) == [{"sum": 3 * (0 + 1 + 2 + 3)}]


def test_what_travels_is_pickled_once_more_without_plugins(monkeypatch):
    monkeypatch.setattr("distill.core.plugins._loaded", {})
    assert not loaded_plugins()
    value = {"a": 1}
    assert ship(value) is value
    assert unpack(value) is value


def _listed(kind):
    return [kind]
