from __future__ import annotations

import pytest

from distill.core.errors import StorageError
from distill.plan.load import load_job
from distill.plan.workspace import Workspace
from tests.tiny import write_job

JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
"""


@pytest.fixture
def look(tmp_path):
    """`look(of)` of a job that was just loaded, and what was found out anew."""
    path, found = write_job(tmp_path, JOB), []

    def find():
        found.append(len(found))
        return found[-1]

    return lambda of: Workspace(load_job(path)).remember("checks", of, find), found


def test_a_finished_job_finds_out_again_what_it_knows_or_takes_it_for_something_else(look):
    ask, found = look
    assert [ask(["a", 1]), ask(["a", 1]), ask(["a", 2]), ask(["a", 1])] == [0, 0, 1, 0]
    assert found == [0, 1]


def test_a_mistake_is_kept_as_found_right(tmp_path):
    job = load_job(write_job(tmp_path, JOB))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            Workspace(job).remember("checks", ["a"], lambda: 1 / 0)


def test_what_is_damaged_is_believed(look, tmp_path):
    ask, _ = look
    ask(["a"])
    (file,) = (tmp_path / "root" / "checks").iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(StorageError, match="is damaged"):
        ask(["a"])
