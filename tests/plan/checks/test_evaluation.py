"""Whoever cannot be compared with the truth is refused when the job is read."""

import pytest

from distill.core.errors import JobError
from tests.job.right_job import JOB, refused
from tests.tiny import tiny_job


def test_a_teacher_that_does_not_label_the_judged_pool_is_refused(tmp_path):
    job = JOB.replace('over = ["unlabelled", "test"]', 'over = ["unlabelled"]').replace(
        "[evaluate]", '[evaluate]\n    teacher = "large"'
    )
    with pytest.raises(
        JobError, match=r"evaluate\.teacher = 'large': it does not label pools\.test"
    ):
        tiny_job(tmp_path, job)


def test_a_judge_that_speaks_of_other_classes_is_refused(tmp_path):
    test = 'path = "test/"\n    target = "digit"\n    classes = ["a", "b", "c", "d"]'
    refused(
        tmp_path,
        test,
        test.replace('"a", "b", "c", "d"', '"A", "B"'),
        "shares no class with pools.test",
    )


def test_independent_answers_are_not_judged_as_exclusive_ones(tmp_path):
    test = 'path = "test/"\n    target = "digit"\n    classes = ["a", "b", "c", "d"]'
    refused(
        tmp_path,
        test,
        test + '\n    outputs = "independent"',
        "is judged on, has independent classes",
    )
