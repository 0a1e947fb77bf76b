from __future__ import annotations

from pathlib import Path

import pytest

from distill.job.job import Job
from distill.run import verify_labels
from tests.making import label_by_worker, writer_of
from tests.resolved import label_set
from tests.tiny import tiny_job, write_pool

LABELER = """\
class Labeler:
    revision = "1"
    classes = ("low", "high")

    def label(self, features):
        return features[:, :2]
"""
JOB = """\
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "pool"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.teacher]
    labeler = { kind = "custom", file = "labeler.py" }
    over = ["rows"]
"""


@pytest.fixture
def job(tmp_path) -> Job:
    """A labelled pool of 200 rows in 5 fragments."""
    write_pool(tmp_path / "pool", [130, 70])
    (tmp_path / "labeler.py").write_text(LABELER, "utf-8")
    made = tiny_job(tmp_path, JOB)
    label_by_worker(made, "teacher")
    return made


def folder(job: Job) -> Path:
    return Path(job.root_uri, "labels/teacher/v1/rows")


def broken(job: Job) -> str:
    (verified,) = verify_labels(job, "teacher")
    return "\n".join(verified.problems)


def test_a_whole_set_is_whole(job):
    (verified,) = verify_labels(job, "teacher")
    assert (verified.problems, verified.rows, verified.labelled, verified.rejected) == (
        (),
        200,
        200,
        0,
    )
    assert verified.fragments == 5


def test_a_set_that_was_never_begun_is_not_called_whole(tmp_path):
    write_pool(tmp_path / "pool", [10])
    (tmp_path / "labeler.py").write_text(LABELER, "utf-8")
    assert "never listed" in broken(tiny_job(tmp_path, JOB))


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_a_flipped_bit_in_a_label_object_is_named(job, position):
    line = label_set(job, "teacher", "rows").entries[2]
    file = folder(job) / line.data
    content = bytearray(file.read_bytes())
    content[int(position * len(content))] ^= 4
    file.write_bytes(content)
    assert f"fragment {line.fragment}: {file} is damaged" in broken(job)


def test_a_lost_label_object_is_named(job):
    line = label_set(job, "teacher", "rows").entries[0]
    (folder(job) / line.data).unlink()
    assert f"fragment {line.fragment}: {folder(job) / line.data} is gone" in broken(job)


def test_a_lost_commit_is_a_missing_fragment(job):
    (folder(job) / "commits/000001-000000.0.json").unlink()
    assert "1 of 5 fragments are missing" in broken(job)
    assert "000001-000000" in broken(job)


def test_a_damaged_commit_is_named_and_not_trusted(job):
    file = folder(job) / "commits/000001-000000.0.json"
    file.write_text(file.read_text("utf-8").replace('"rows": 64', '"rows": 65'), "utf-8")
    assert f"{file} is damaged" in broken(job)


def test_a_commit_that_the_manifest_has_but_storage_lost_is_named(job):
    writer_of(label_set(job, "teacher", "rows")).write_manifest()
    (folder(job) / "commits/000000-000001.0.json").unlink()
    assert "fragment 000000-000001: " in broken(job)
    assert "is gone" in broken(job)


def test_a_whole_set_is_called_broken_for_what_is_damaged_over_another_pool(tmp_path):
    write_pool(tmp_path / "pool", [70])
    write_pool(tmp_path / "other", [70])
    (tmp_path / "labeler.py").write_text(LABELER, "utf-8")
    other = '[pools.other]\npath = "other"\nfeatures = { kind = "vector", columns = ["pixels"] }\n'
    job = tiny_job(tmp_path, JOB.replace('over = ["rows"]', 'over = ["rows", "other"]') + other)
    label_by_worker(job, "teacher")
    file = Path(job.root_uri, "labels/teacher/v1/other/commits/000000-000000.0.json")
    file.write_text(file.read_text("utf-8").replace('"rows": 64', '"rows": 65'), "utf-8")
    rows, other_rows = verify_labels(job, "teacher", canaries=2)
    assert rows.problems == ()
    assert f"{file} is damaged" in "\n".join(other_rows.problems)
