"""Labelling that is killed at each failpoint, by a teacher that counts: which rows are paid for
again. Only those that were in work and not written."""

from __future__ import annotations

from collections import Counter

import pytest

from distill.plan.load import load_job
from distill.run import label_pool, verify_labels
from distill.storage.open import open_storage
from tests.command import kill_session, start
from tests.tiny import write_job, write_pool
from tests.waiting import wait_until

COUNTING = """
import os
import numpy as np

class Labeler:
    revision = "1"
    classes = ("a", "b", "c")

    def label(self, features):
        with open("{calls}", "a") as file:
            file.write("".join(f"{{row[0]!r}}\\n" for row in features.tolist()))
        answer = 2 * features[:, :3]
        answer[features[:, 3] > 0.97] = np.nan
        return answer
"""
JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = {{ kind = "vector", columns = ["pixels"] }}
    [labels.teacher]
    labeler = {{ kind = "custom", file = "mine.py" }}
    over = ["rows"]
    batch_rows = 16
    format = "{format}"
    max_rejected_fraction = 0.5
"""
SHARDS = (200, 130, 64, 10)
ROWS = sum(SHARDS)
ASKED_AGAIN = 8
THIRD_FRAGMENT = 64
"""Rows."""


@pytest.fixture
def folder(tmp_path):
    write_pool(tmp_path / "rows", SHARDS)
    calls = tmp_path / "calls"
    (tmp_path / "mine.py").write_text(COUNTING.format(calls=calls), "utf-8")
    return tmp_path


def make_job(folder, form="arrow"):
    return write_job(folder, JOB.format(format=form))


def bought(folder) -> Counter[str]:
    """How often the teacher was asked about each row."""
    return Counter((folder / "calls").read_text("utf-8").split())


@pytest.mark.parametrize(
    ("place", "form", "again"),
    [
        ("label.before_data", "arrow", THIRD_FRAGMENT),
        ("label.after_data", "arrow", 0),
        ("label.after_data", "parquet", 0),
        ("label.after_commit", "arrow", 0),
    ],
)
def test_a_row_that_was_written_is_bought_twice(folder, place, form, again):
    job = make_job(folder, form)
    marker = folder / "reached"
    killed = start("label", job, "--local", DISTILL_FAILPOINT=f"{place}:3:{marker}")
    wait_until(marker.exists, killed)
    kill_session(killed.pid)
    killed.communicate()
    (summary,) = label_pool(load_job(job), "teacher", engine="local")
    times = bought(folder)
    assert len(times) == ROWS
    assert sum(times.values()) == ROWS + ASKED_AGAIN + again
    (verified,) = verify_labels(load_job(job), "teacher", canaries=3)
    assert verified.problems == ()
    assert (verified.rows, verified.rejected) == (ROWS, summary.rejected)
    assert verified.rejected > 0
    undisturbed = load_job(job, root=str(folder / "undisturbed"))
    (expected,) = label_pool(undisturbed, "teacher", engine="local")
    assert summary.label_hash == expected.label_hash


def test_a_first_batch_is_asked_about_twice_at_each_run(folder):
    job = load_job(make_job(folder))
    label_pool(job, "teacher", engine="local")
    assert sum(bought(folder).values()) == ROWS + ASKED_AGAIN
    write_pool(folder / "more", [70])
    (folder / "more" / "part-00000.parquet").rename(folder / "rows" / "part-00009.parquet")
    label_pool(job, "teacher", engine="local")
    assert sum(bought(folder).values()) == ROWS + ASKED_AGAIN + 70


def test_a_fresh_label_set_is_listed_fragment_by_fragment(folder, monkeypatch):
    """Looking for what was written costs a request a fragment: only where something was."""
    from distill.stages.label import worker

    def no(*_, **__):
        raise AssertionError("nothing was written before")

    monkeypatch.setattr(worker, "find_written", no)
    label_pool(load_job(make_job(folder)), "teacher", engine="local")
    assert len(open_storage(str(folder / "root")).folder("labels").list_objects()) > 9
