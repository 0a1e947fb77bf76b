from __future__ import annotations

from tests.resolved import job_status
from tests.stages.verify.test_verify import JOB, LABELER, job
from tests.tiny import tiny_job, write_pool

__all__ = ["job"]

STUDENT = """\
    [students.small]
    model = { kind = "linear" }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
"""


def test_labelled_fragments_and_lost_ones_are_counted(job):
    (line,) = job_status(job)
    assert (line.name, line.done, line.total, line.left) == ("labels.teacher over rows", 5, 5, 0)
    assert line.note == "200 rows labelled, 0 rejected"
    (next((job.path.parent / "root/labels/teacher/v1/rows/data").glob("*/*"))).unlink()
    (line,) = job_status(job)
    assert (line.left, line.note) == (1, "200 rows labelled, 0 rejected, 1 lost")


def test_what_is_not_begun_is_left_and_nothing_is_made(tmp_path):
    write_pool(tmp_path / "pool", [10])
    (tmp_path / "labeler.py").write_text(LABELER, "utf-8")
    labels, student = job_status(tiny_job(tmp_path, JOB + STUDENT))
    assert (labels.done, labels.note) == (0, "pools.rows is not listed yet")
    assert (student.name, student.left) == ("students.small", 1)
    assert not (tmp_path / "root").exists()
