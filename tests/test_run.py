from __future__ import annotations

import pytest

from distill.run import verify_labels
from tests.command import distill, start
from tests.resolved import label_set
from tests.stages.verify.test_verify import LABELER, folder, job
from tests.tiny import blur_kinds, write_job, write_pool
from tests.waiting import LIMIT_SECONDS

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


JOB_OF_PARTS = """
    root = "root"
    [pools.rows]
    path = "rows"
    target = "kind"
    classes = ["a", "b", "c"]
    features = { kind = "vector", columns = ["pixels"] }
    [pools.seen]
    path = "seen"
    target = "kind"
    classes = ["a", "b", "c"]
    features = { kind = "vector", columns = ["pixels"] }
    [pools.test]
    path = "test"
    target = "kind"
    classes = ["a", "b", "c"]
    features = { kind = "vector", columns = ["pixels"] }
    [fit.large]
    model = { kind = "linear" }
    on = "seen"
    training = { epochs = 4, batch_rows = 64 }
    [labels.teacher]
    labeler = { kind = "fitted", fit = "large" }
    over = ["rows", "test"]
    calibrate_on = "rows"
    [students.small]
    model = { kind = "linear" }
    training = { epochs = 1, batch_rows = 64 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
    [evaluate]
    on = "test"
"""


def test_every_part_fits_calibrates_and_trains_or_none_does(tmp_path):
    for name, shard_rows in (("seen", [640]), ("rows", [640, 320]), ("test", [100])):
        write_pool(tmp_path / name, shard_rows)
        blur_kinds(tmp_path / name, len(shard_rows))
    file = write_job(tmp_path, JOB_OF_PARTS)
    drivers = [start("run", file, "--part", f"{number}/3", "--local") for number in range(3)]
    ended = [driver.communicate(timeout=LIMIT_SECONDS)[0] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0, 0], ended
    everything = "".join(ended)
    assert everything.count("fit.large: 15 parameters, trained now") == 1
    assert everything.count("fit.large: 15 parameters, done before") == 2
    assert everything.count("960 rows in = 960 labelled + 0 rejected") == 3
    assert everything.count("labels.teacher: calibrated on") == 1
    assert "students.small: 15 parameters, trained now" in ended[0]
    assert "Report: " in ended[0]
    for number in (1, 2):
        assert "students.small" not in ended[number]
        done = f"Part {number}/3 is done: students, evaluation and report are part 0's."
        assert done in ended[number]


@pytest.mark.parametrize("command", ["run", "label"])
@pytest.mark.parametrize("part", ["65/64", "0/0", "x", "auto"])
def test_a_wrong_part_begins_to_work(tmp_path, command, part):
    file = write_job(tmp_path, JOB_OF_PARTS)
    ended = distill(command, file, "--part", part, "--local")
    assert ended.code == 2
    assert f"--part {part}: no " in ended.output
    assert "NUMBER/COUNT, numbers from 0" in ended.output
    assert not (tmp_path / "root").exists()
