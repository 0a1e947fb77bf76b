"""What is wrong with a job is said before any work: exit code 2, the file, the key, the value, the
way out, and no traceback."""

from __future__ import annotations

import signal

import pytest

from tests.command import REPOSITORY, distill

JOB = REPOSITORY / "jobs" / "digits.toml"


@pytest.fixture
def job(tmp_path):
    """A copy of the main job to spoil."""
    for name in ("digits_pools.py", "digit_attributes.csv"):
        (tmp_path / name).write_bytes((JOB.parent / name).read_bytes())

    def spoilt(old: str, new: str):
        text = JOB.read_text("utf-8").replace("../runs/digits", "root")
        assert old in text
        (tmp_path / "job.toml").write_text(text.replace(old, new), "utf-8")
        return tmp_path / "job.toml"

    return spoilt


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "learning_rate = 1e-3",
            "lerning_rate = 1e-3",
            "fit.large.training.lerning_rate: unknown key. Did you mean 'learning_rate'?",
        ),
        ('columns = ["pixels"]', 'columns = ["pixel"]', "no column 'pixel'. It has: pixels"),
        ('target = "digit"', 'target = "number"', "no column 'number'. It has: pixels, digit"),
        ('made_by = "digits_pools.py:unlabelled"', "", "pools.unlabelled.path: no file lies at"),
        (
            'made_by = "digits_pools.py:test"',
            'made_by = "no.py:test"',
            "pools.test.made_by = 'no.py:test': there is no file",
        ),
        (
            'made_by = "digits_pools.py:test"',
            'made_by = "digits_pools.py:tset"',
            "has no 'tset'; it has",
        ),
        (
            "temperature = 2 }",
            "temperature = 3 }",
            "declare 3.0 in labels.large.encoding.temperatures",
        ),
        (
            "[students.combined]",
            '[students.combined]\nheads = { main = { classes = ["0", "1"] } }',
            "are not among the head's, exclusive classes [0, 1]",
        ),
        (
            "shape = [1, 8, 8]",
            "shape = [1, 8, 9]",
            "fit.large.model.shape = [1, 8, 9] holds 72 numbers, but a row has 64",
        ),
        (
            'path = "{root}/pools/test"',
            'path = "{root}/pools/labelled/"',
            "its files lie in pools.labelled too",
        ),
    ],
)
def test_a_wrong_job_is_refused_before_any_work(job, old, new, said):
    ended = distill("run", job(old, new))
    assert ended.code == 2, ended.output
    assert said in ended.output
    assert "job.toml" in ended.output
    assert "Traceback" not in ended.output
    assert "starting a Ray" not in ended.output


def test_a_missing_job_file_says_how_to_begin(tmp_path):
    ended = distill("run", tmp_path / "none.toml")
    assert ended.code == 2
    assert "`distill init POOL` writes one" in ended.output


def test_a_crash_within_a_library_is_told_without_the_users_line(tmp_path):
    (tmp_path / "crash.py").write_text("import ctypes\nctypes.string_at(0)\n")
    (tmp_path / "job.toml").write_text('root = "root"\nplugins = ["crash.py"]\n')
    ended = distill("run", tmp_path / "job.toml")
    assert ended.code == -signal.SIGSEGV
    assert f'File "{tmp_path}/crash.py", line 2 in <module>' in ended.output


@pytest.mark.ray
def test_gpus_that_the_machine_does_not_have_are_refused_at_once(job, joining):
    spoilt = job('on = "labelled"\ntraining = {', 'on = "labelled"\ntraining = { gpus = 1,')
    ended = distill("fit", spoilt, "large", *joining.options, **joining.environment)
    assert ended.code == 2
    assert "training needs 1 GPU on one node, but the largest node has 0" in ended.output
