from __future__ import annotations

import re

import pytest

from distill.core.errors import JobError
from distill.plan.load import load_job
from tests.guides import GUIDE
from tests.stages.label.pate_job import GNMAX, JOB
from tests.tiny import write_job

PRIVATE = 'over = ["unlabelled"]'
WRONG = {
    "no teachers": ('teachers = {{ count = {teachers}, by = "person" }}', "", "is one network"),
    "plain votes": (
        'kind = "pate", fit = "voters", {labeler}',
        'kind = "fitted", fit = "voters"',
        "whose votes are private",
    ),
    "own rows": (PRIVATE, 'over = ["private"]', "have seen rows of 'private'"),
    "two pools": (PRIVATE, 'over = ["unlabelled", "private"]', "for the rows of one pool"),
    "calibrated": (PRIVATE, PRIVATE + '\n    calibrate_on = "private"', "would spend privacy"),
    "fragments": ("fragment_rows = 64", "fragment_rows = 500_000", "Lower it"),
    "eszsl": ('kind = "linear"', 'kind = "eszsl", descriptions = "a.csv"', "is one model"),
    "no classes": ('classes = ["a", "b", "c"]', "", "one of several classes"),
    "stop": (
        'on = "private"',
        'on = "private"\n    early_stop = {{ learns = "pools.private" }}',
        "would stop all",
    ),
    "budget": (
        "{labeler}",
        "scale = 0.1, epsilon = 1.0, delta = 1e-5",
        "not enough for one answer",
    ),
    "threshold": ("{labeler}", "{labeler}, threshold_sigma = 3.0", "is of a threshold"),
    "laplace": ("{labeler}", '{labeler}, noise = "laplace", threshold = 3.0', 'noise = "gaussian"'),
    "answers": ("{labeler}", '{labeler}, answers = "logits"', "votes are counted"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_job_that_would_break_the_promise_is_loaded(tmp_path, wrong):
    before, after, message = WRONG[wrong]
    assert before in JOB
    (tmp_path / "a.csv").write_text("class,x\na,1\nb,2\nc,3\n", "utf-8")
    text = JOB.replace(before, after).format(labeler=GNMAX, teachers=8)
    with pytest.raises(JobError) as caught:
        load_job(write_job(tmp_path, text))
    assert message in str(caught.value)


def test_the_guides_job_of_private_rows_is_no_job(tmp_path):
    (text,) = re.findall(r"```toml\n(# votes.toml\n.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    job = load_job(write_job(tmp_path, text))
    assert job.fit["voters"].teachers is not None
    assert job.students["private"].training.private is not None
