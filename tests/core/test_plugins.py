"""Plugins run once a process, before what needs their classes, here and in a second process."""

import pickle
import subprocess
import sys

import pytest

from distill.core import plugins
from distill.core.errors import JobError
from distill.core.plugins import load_plugins, loaded_plugins
from distill.core.source import PythonFile
from distill.spec.kinds import Kind

POINT = "from tests.core.test_plugins import Shape\nfrom typing import Literal\n"


class Shape(Kind):
    """An extension point."""


def plugin(path, kind, body="pass"):
    return PythonFile(
        str(path),
        f"{POINT}\nclass Mine(Shape):\n"
        f'    kind: Literal["{kind}"]\n    revision: Literal["1"] = "1"\n{body}\n',
    )


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch):
    monkeypatch.setattr(plugins, "_loaded", {})


def test_a_file_runs_twice(tmp_path):
    counted = PythonFile(str(tmp_path / "counted.py"), "import sys\nsys.ran = sys.ran + 1\n")
    sys.ran = 0
    for _ in range(2):
        load_plugins([counted])
    load_plugins([PythonFile(str(tmp_path / "copied.py"), counted.text)])
    assert sys.ran == 1
    assert loaded_plugins() == (counted,)


def test_an_edited_file_is_refused_or_its_former_kinds_stay(tmp_path):
    first = plugin(tmp_path / "own.py", "round")
    edited = plugin(tmp_path / "own.py", "round", "size = 2")
    renamed = plugin(tmp_path / "own.py", "oval")
    load_plugins([first])
    load_plugins([edited])
    assert Shape.kinds()["round"].__module__ == edited.module_name
    load_plugins([first])
    assert Shape.kinds()["round"].__module__ == first.module_name
    load_plugins([renamed])
    assert list(Shape.kinds()) == ["oval"]
    assert loaded_plugins() == (renamed,)


def test_a_file_that_raised_cannot_be_run_again(tmp_path):
    broken = plugin(
        tmp_path / "broken.py",
        "broken",
        "if not hasattr(__import__('sys'), 'whole'): raise KeyError('x')",
    )
    with pytest.raises(JobError, match=r"plugins: .*broken\.py raises when it is loaded"):
        load_plugins([broken])
    assert loaded_plugins() == ()
    sys.whole = True
    load_plugins([broken])
    assert "broken" in Shape.kinds()


READ = """
import pickle, sys
from distill.core.plugins import load_plugins
files, made = pickle.load(sys.stdin.buffer)
load_plugins(files)
print(pickle.loads(made))
"""


def test_a_second_process_does_not_find_a_plugins_class(tmp_path):
    load_plugins([plugin(tmp_path / "shipped.py", "shipped", "    size: int = 3")])
    made = Shape.kinds()["shipped"](kind="shipped", size=7)
    sent = pickle.dumps((loaded_plugins(), pickle.dumps(made)))
    second = subprocess.run([sys.executable, "-c", READ], input=sent, capture_output=True)
    assert second.stdout.decode().strip() == "kind='shipped' revision='1' size=7", second.stderr
