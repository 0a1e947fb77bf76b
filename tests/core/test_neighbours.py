from __future__ import annotations

import pickle

import pytest

from distill.core.errors import JobError
from distill.core.source import read_source

SOURCE = """
import json
import tools.scaling as scaling
from helper import scale, deep

def later():
    from tools.scaling import Thing
    return Thing

said = (scale, deep, scaling.factor, json.dumps(1))
"""


def write(folder, files):
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    return folder


def source(folder, name):
    """A source and its neighbours, which say `name`."""
    write(
        folder,
        {
            "mine.py": SOURCE,
            "helper.py": f"from deeper import deep\nscale = {name!r}",
            "deeper.py": f"import helper\ndeep = 'deep {name}'",
            "tools/__init__.py": "",
            "tools/scaling.py": f"from .inner import factor\nclass Thing:\n    here = {name!r}",
            "tools/inner.py": "from helper import deep as factor",
            "json.py": "dumps = None",
        },
    )
    return read_source(folder / "mine.py", "labels.teacher.labeler")


def test_two_sources_share_the_neighbour_of_one(tmp_path):
    for name in ("first", "second"):
        file = pickle.loads(pickle.dumps(source(tmp_path / name, name)))
        assert file.load("said") == (name, f"deep {name}", f"deep {name}", "1")
        thing = file.load("later")()
        assert thing.here == name
        assert isinstance(pickle.loads(pickle.dumps(thing())), thing)


def test_a_worker_without_the_folder_does_not_find_the_neighbour(tmp_path):
    file = source(tmp_path / "here", "gone")
    (tmp_path / "here").rename(tmp_path / "elsewhere")
    assert file.load("said")[0] == "gone"


def test_an_edited_neighbour_is_not_seen(tmp_path):
    before = source(tmp_path, "before")
    after = source(tmp_path, "after")
    assert before.sha256 != after.sha256
    assert (before.load("said")[0], after.load("said")[0]) == ("before", "after")


def test_a_folder_without_init_is_a_package_unless_one_is_installed(tmp_path):
    write(
        tmp_path,
        {
            "loose/part.py": "x = 1",
            "numpy/part.py": "",
            "mine.py": "import numpy\nfrom loose.part import x\ny = numpy.ones(x)",
        },
    )
    file = read_source(tmp_path / "mine.py", "key")
    assert [each.name for each in file.neighbours] == ["loose", "loose.part"]
    assert file.load("y").shape == (1,)


def test_a_source_without_neighbours_gets_another_digest(tmp_path):
    (tmp_path / "mine.py").write_text("import os\nimport no_such_module_anywhere", "utf-8")
    file = read_source(tmp_path / "mine.py", "key")
    assert file.whole_text == file.text
    with pytest.raises(JobError, match="No module named 'no_such_module_anywhere'"):
        file.run("key")


def test_a_neighbour_that_raises_hides_its_line(tmp_path):
    write(tmp_path, {"mine.py": "import broken", "broken.py": "x = 1\n1 / 0"})
    with pytest.raises(JobError, match=r"(?s)broken\.py\", line 2.*ZeroDivisionError") as refused:
        (read_source(tmp_path / "mine.py", "key")).run("key")
    assert "importlib" not in str(refused.value)


def test_a_folder_below_a_package_has_no_file_of_its_own_and_is_not_found(tmp_path):
    files = {
        "mine.py": "from lib.models.net import said\nfrom p.r.s import said as other",
        "lib/models/net.py": "said = 1",
        "p/__init__.py": "",
        "p/r/s.py": "said = 2",
    }
    file = read_source(write(tmp_path, files) / "mine.py", "labels.teacher.labeler")
    assert (file.load("said"), file.load("other")) == (1, 2)


WAYS = {
    "import_module": 'import importlib\nsaid = importlib.import_module("helper").said',
    "renamed": 'import importlib as i\nsaid = i.import_module("helper").said',
    "from": 'from importlib import import_module\nsaid = import_module(name="helper").said',
    "__import__": 'said = __import__("helper").said',
    "variable": 'import importlib\nname = "helper"\nsaid = importlib.import_module(name).said',
    "f-string": 'import importlib\nn = "helper"\nsaid = importlib.import_module(f"{n}").said',
    "package": 'import importlib\nn = "a"\nsaid = importlib.import_module(f"kinds.{n}").said',
    "joined": 'import importlib\nsaid = importlib.import_module("kinds." + "a").said',
    "relative": 'import importlib\nsaid = importlib.import_module("kinds.b").said',
}


@pytest.mark.parametrize("way", WAYS)
def test_a_neighbour_is_found_by_statements_alone(tmp_path, way):
    files = {
        "mine.py": WAYS[way],
        "helper.py": "said = 1",
        "kinds/a.py": "said = 1",
        "kinds/b.py": 'import importlib\nsaid = importlib.import_module(".a", __package__).said',
    }
    file = read_source(write(tmp_path / "here", files) / "mine.py", "key")
    (tmp_path / "here").rename(tmp_path / "elsewhere")
    assert file.load("said") == 1


@pytest.mark.parametrize(
    "text",
    [
        "import importlib.util, importlib.metadata as m\nimport helper\nsaid = m.version('numpy')",
        "import helper, importlib\nsaid = importlib.util and importlib.import_module('json').dumps",
        "import helper\nfrom importlib import resources, reload\nsaid = resources.files",
    ],
)
def test_importlib_is_another_beside_a_neighbour(tmp_path, text):
    (tmp_path / "helper.py").write_text("")
    (tmp_path / "mine.py").write_text(text)
    assert read_source(tmp_path / "mine.py", "key").load("said")


def test_a_call_that_names_its_module_takes_the_whole_folder_along(tmp_path):
    text = "import importlib\nimportlib.import_module('json')\nimportlib.metadata.version('numpy')"
    write(tmp_path, {"mine.py": text, "helper.py": "", "broken.py": "def"})
    assert read_source(tmp_path / "mine.py", "key").neighbours == ()
