from __future__ import annotations

from distill.run import verify_labels
from tests.resolved import label_set
from tests.stages.verify.test_verify import LABELER, folder, job

__all__ = ["job"]


def test_verify_asks_no_live_labeler_or_hides_what_it_says(job):
    (verified,) = verify_labels(job, None, 2)
    assert verified.problems == ()
    (job.path.parent / "labeler.py").write_text(
        LABELER.replace("features[:, :2]", "features[:, 1:3]"), "utf-8"
    )
    from distill.plan.load import load_job

    changed = load_job(job.path)
    (verified,) = verify_labels(changed, None, 2)
    assert len(verified.problems) == 2
    assert "the live labeler is" in verified.problems[0]
    (verified,) = verify_labels(changed, None, 0)
    assert verified.problems == ()


def test_a_broken_set_is_asked_about_besides(job):
    (folder(job) / label_set(job, "teacher", "rows").entries[0].data).unlink()
    (verified,) = verify_labels(job, "teacher", 2)
    assert len(verified.problems) == 1
