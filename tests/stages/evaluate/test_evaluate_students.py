from __future__ import annotations

from dataclasses import replace

import pytest

from distill.labelers.recipe import Recipe
from distill.plan.candidates import Candidate, Method, teacher_of
from distill.plan.evaluation import _evaluation_identity
from distill.plan.workspace import Workspace
from distill.spec.outputs import Outputs
from tests.resolved import open_pool
from tests.tiny import tiny_job, write_pool

JOB = """
    root = "root"
    [pools.unlabelled]
    path = "unlabelled"
    features = { kind = "vector", columns = ["pixels"] }
    [pools.test]
    path = "test"
    target = "kind"
    classes = ["a", "b", "c"]
    [labels.first]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["unlabelled"]
    [labels.second]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["unlabelled", "test"]
    [evaluate]
    on = "test"
"""


@pytest.fixture
def job(tmp_path):
    write_pool(tmp_path / "test", [10])
    write_pool(tmp_path / "unlabelled", [10])
    (tmp_path / "mine.py").write_text(
        "class Labeler:\n    revision = '1'\n    classes = ('a', 'b')\n    def label(self, features): ...\n",
        "utf-8",
    )
    return tiny_job(tmp_path, JOB)


def test_an_evaluation_is_found_again_after_the_class_names_were_corrected(job):
    pool = open_pool(job, "test")
    method = Method("labels.second", Outputs("logits", ("a", "b")))
    wrong = Candidate(
        method=method, name="second", role="teacher", pin="p", width=2, recipe=Recipe(form="custom")
    )
    right = replace(wrong, method=replace(method, outputs=Outputs("logits", ("b", "a"))))
    assert _evaluation_identity(pool, [wrong], None) != _evaluation_identity(pool, [right], None)
    assert _evaluation_identity(pool, [wrong], None) == _evaluation_identity(
        pool, [replace(wrong, name="another")], None
    )


def test_the_teacher_is_a_label_set_that_is_not_over_the_judged_pool(job):
    assert teacher_of(Workspace(job), "test") == "second"
