"""What labelers, targets and heads say is read from the job, so that a contradiction is found
before any work."""

import pytest

from distill.core.errors import JobError
from distill.spec.outputs import Outputs
from distill.spec.students import MAIN
from tests.job.right_job import JOB
from tests.resolved import head_outputs, label_outputs, pool_outputs
from tests.tiny import tiny_job

CUSTOM = JOB.replace('{ kind = "fitted", fit = "large" }', '{ kind = "custom", file = "mine.py" }')


def custom(folder, body, encoding='{ kind = "topk", k = 3, temperatures = [1, 4] }', job=CUSTOM):
    (folder / "mine.py").write_text(
        f"class Labeler:\n    {body}\n    def label(self, features): ...\n"
    )
    return tiny_job(
        folder, job.replace('{ kind = "topk", k = 3, temperatures = [1, 4] }', encoding)
    )


def test_a_custom_labeler_says_its_own_classes(tmp_path):
    job = custom(tmp_path, 'revision = "1"; classes = ("d", "c", "b", "a")')
    assert label_outputs(job, "large") == Outputs("logits", ("d", "c", "b", "a"))


def test_a_head_has_its_terms_classes_in_their_order_each_once(tmp_path):
    job = custom(tmp_path, 'revision = "1"; classes = ("d", "x", "a")')
    assert head_outputs(job, job.students["combined"], MAIN).classes == ("d", "x", "a", "b", "c")


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        'revision = "1"',
        'classes = ("a",)',
        'revision = "1"; kind = "value"; classes = ("a",)',
        'revision = "1"; kind = "x"',
    ],
)
def test_a_custom_labeler_that_does_not_say_what_it_means_is_refused(tmp_path, body):
    with pytest.raises(
        JobError, match=r"labels\.large\.labeler: class Labeler in mine\.py must have a `revision`"
    ):
        custom(tmp_path, body)


def test_a_missing_labeler_file_is_told_with_its_key(tmp_path):
    with pytest.raises(JobError, match=r"labels\.large\.labeler\.file = .*mine\.py': No such file"):
        tiny_job(tmp_path, CUSTOM)


def test_values_and_classes_on_one_head_are_refused(tmp_path):
    job = CUSTOM.replace('{ kind = "kl", temperature = 4 }', '{ kind = "mse" }')
    with pytest.raises(
        JobError,
        match=r"students\.combined\.terms\.1\.head = 'main': another term teaches it a value",
    ):
        custom(tmp_path, 'revision = "1"; kind = "value"', '{ kind = "value" }', job)


def test_a_target_without_classes_is_a_value(tmp_path):
    job = tiny_job(tmp_path, JOB)
    assert pool_outputs(job, "unlabelled") == Outputs("value")
    assert pool_outputs(job, "labelled") == Outputs("logits", ("a", "b", "c", "d"))
