"""Label sets that say nothing, or cannot be stored so, are refused when the job is read."""

import pytest

from distill.core.errors import JobError
from tests.job.right_job import JOB, refused
from tests.tiny import tiny_job


def test_topk_of_independent_outputs_is_refused(tmp_path):
    job = JOB.replace('target = "digit"', 'target = "digit"\n    outputs = "independent"')
    with pytest.raises(
        JobError, match=r"labels\.large\.encoding\.kind = 'topk': independent outputs.*Use dense"
    ):
        tiny_job(tmp_path, job)


@pytest.mark.parametrize("classes", ['("a", "b", "a")', '{"a", "b"}', "(1, 2)"])
def test_classes_of_a_custom_labeler_are_distinct_and_in_order(tmp_path, classes):
    (tmp_path / "mine.py").write_text(
        f"class Labeler:\n    revision = '1'\n    classes = {classes}\n    def label(self, features): ...\n",
        "utf-8",
    )
    refused(
        tmp_path,
        '{ kind = "fitted", fit = "large" }',
        '{ kind = "custom", file = "mine.py" }',
        "distinct names in a tuple",
    )


def test_a_teacher_of_one_class_teaches_that_all_rows_are_of_it(tmp_path):
    (tmp_path / "mine.py").write_text(
        "class Labeler:\n    revision = '1'\n    classes = ('a',)\n    def label(self, features): ...\n",
        "utf-8",
    )
    refused(
        tmp_path,
        '{ kind = "fitted", fit = "large" }',
        '{ kind = "custom", file = "mine.py" }',
        "labels.large.labeler: says exclusive classes [a], and one exclusive class is every row's",
    )


SEALED = """
    [labels.sealed]
    labeler = { kind = "fitted", fit = "large" }
    over = ["unlabelled", "test"]
    format = "parquet"
    encryption = { key = "env:SOME_KEY" }
"""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            '[labels.made]\nlabeler = { kind = "merge", of = ["labels.sealed", "labels.large"] }\n'
            'over = ["test"]\n',
            "labels.sealed is encrypted, and what is made of it would be plain",
        ),
        (
            '[labels.made]\nlabeler = { kind = "pooled", votes = "labels.large", '
            'groups = "labels.sealed" }\nover = ["test"]\n',
            "labels.sealed is encrypted, and what is made of it would be plain",
        ),
        (
            '[review]\nover = "test"\nlabels = ["sealed"]\n',
            "labels.sealed is encrypted, and a review",
        ),
    ],
)
def test_encrypted_labels_are_written_plainly_by_another_way(tmp_path, more, message):
    tiny_job(tmp_path, JOB + SEALED)
    with pytest.raises(JobError, match=message):
        tiny_job(tmp_path, JOB + SEALED + more)
