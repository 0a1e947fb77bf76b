"""A cascade that could promise nothing is refused when the job is read."""

from __future__ import annotations

import pytest

from distill.core.errors import JobError
from tests.tiny import tiny_job

JOB = """
    root = "runs"
    [pools.taught]
    path = "taught"
    target = "kind"
    classes = ["a", "b"]
    features = { kind = "vector", columns = ["x"] }
    [pools.people]
    path = "people"
    target = "kind"
    classes = ["a", "b"]
    [pools.plain]
    path = "plain"
    [fit.large]
    model = { kind = "linear" }
    on = "people"
    [labels.large]
    labeler = { kind = "fitted", fit = "large" }
    over = ["plain"]
    [students.small]
    model = { kind = "linear" }
    [[students.small.terms]]
    learns = "pools.taught"
    loss = { kind = "cross_entropy" }
"""
RIGHT = {"on": "people", "to": "labels.large", "at_least": 0.9}


def table(name="small", **changes):
    lines = [f"[cascade.{name}]"]
    for key, value in {**RIGHT, **changes}.items():
        lines.append(f"{key} = {value!r}".replace("'", '"'))
    return "\n".join(lines) + "\n"


def test_a_right_one_is_read_with_its_defaults(tmp_path):
    job = tiny_job(tmp_path, JOB + table())
    cascade = job.cascade["small"]
    assert (cascade.student, cascade.confidence, cascade.by) == (None, 0.95, "confidence")
    assert cascade.label_set == "large"
    assert tiny_job(tmp_path, JOB + table(to="review")).cascade["small"].label_set is None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (table(on="taught"), r"cascade.small.on = 'taught': students.small learns from"),
        (table(on="plain"), r"on = 'plain': that pool has no target"),
        (table(on="nowhere"), r"on = 'nowhere': there is no such pool"),
        (table(to="labels.other"), r"to = 'labels.other': there is no such label set"),
        (table(to="somebody"), r"to = 'somebody' is none of"),
        (table("other"), r"cascade.other: there is no student 'other'"),
        (table(at_least=1.5), r"at_least"),
        (table(confidence=0.2), r"confidence"),
        ('[apply.small]\ncalibrate_on = "plain"\n', r"calibrate_on = 'plain': that pool has no"),
        ('[apply.small]\ncalibrate_on = "taught"\n', r"students.small learns from"),
        ("[apply.other]\nbatch_rows = 8\n", r"apply.other: there is no student 'other'"),
        ('[apply.small]\nfile = "net.py"\n', r"has a file but no model"),
        (
            '[apply.small]\ncalibrate_on = "people"\n' + table(),
            r"temperature is found on those rows",
        ),
    ],
)
def test_what_would_prove_nothing_is_refused_by_name(tmp_path, more, message):
    with pytest.raises(JobError, match=message):
        tiny_job(tmp_path, JOB + more)
