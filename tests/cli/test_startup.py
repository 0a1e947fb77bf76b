"""What a command that has nothing to do loads and opens: by counts, since seconds are the machine's."""

from __future__ import annotations

import json

import pytest

from distill.run import run_job
from tests.command import run_code
from tests.tiny import DOUBLING, tiny_job, write_pool

JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [pools.test]
    path = "test"
    target = "kind"
    classes = ["a", "b", "c"]
    [labels.teacher]
    labeler = { kind = "custom", file = "labeler.py" }
    over = ["rows", "test"]
    [students.small]
    model = { kind = "linear" }
    training = { epochs = 1 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
    [evaluate]
    on = "test"
"""
# each for some 20 to 1,500 ms
HEAVY = {
    "asyncio",
    "fsspec",
    "filelock",
    "jinja2",
    "matplotlib",
    "pandas",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "ray",
    "rich.progress",
    "sklearn",
    "ssl",
    "torch",
}
COUNTED = """
import collections, json, sys
opened = collections.Counter()
def count(event, arguments):
    if event == "open" and {root!r} in str(arguments[0]):
        opened[str(arguments[0]).removeprefix({root!r})] += 1
sys.addaudithook(count)
from distill.cli.commands import app
try:
    app({words})
except SystemExit as ended:
    code = ended.code
ours = [name for name in sys.modules if name.split(".")[0] == "distill"]
heavy = sorted({heavy} & set(sys.modules))
print(json.dumps([code, heavy, len(sys.modules), len(ours), opened]))
"""
MOST_MODULES, MOST_OF_OURS = 1_150, 490


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A job all of which is done."""
    folder = tmp_path_factory.mktemp("finished")
    write_pool(folder / "rows", [70])
    write_pool(folder / "test", [40])
    (folder / "labeler.py").write_text(DOUBLING, "utf-8")
    job = tiny_job(folder, JOB)
    run_job(job, lambda _line: None, engine="local")
    return job


def counted(job, *words):
    root = str(job.path.parent / "root")
    told = [*words, str(job.path)]
    ended = run_code(COUNTED.format(words=told, heavy=HEAVY, root=root))
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize("words", [["run"], ["status"], ["plan", "--no-pilot"]])
def test_what_is_done_is_found_done_by_loading_what_work_needs(finished, words):
    code, heavy, modules, ours, opened = counted(finished, *words)
    assert (code, heavy) == (0, [])
    assert modules <= MOST_MODULES
    assert ours <= MOST_OF_OURS
    if words == ["run"]:
        manifests = [name for name in opened if "/manifest/" in name]
        assert len(manifests) == 2
        assert {opened[name] for name in manifests} == {1}, "read once"
        assert sum(opened.values()) <= 25
        assert not [name for name in opened if name.endswith((".safetensors", ".parquet"))]
