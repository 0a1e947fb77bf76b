"""Slices, former students, rows without people's labels and gates that cannot be are refused when
the job is read, by name."""

from __future__ import annotations

import re

import pytest

from distill.core.errors import JobError, PoolError
from distill.plan.checks.judging import check_sliced_columns
from distill.plan.workspace import Workspace
from tests.tiny import DOUBLING, tiny_job, write_pool

JOB = """
    root = "root"
    [pools.train]
    path = "train"
    features = { kind = "vector", columns = ["pixels"] }
    [pools.test]
    path = "test"
    target = "kind"
    classes = ["a", "b", "c"]
    private = ["email"]
    [labels.large]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["train", "test"]
    [labels.elsewhere]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["train"]
    [students.small]
    model = { kind = "linear" }
    [[students.small.terms]]
    learns = "labels.large"
    loss = { kind = "kl" }
    [evaluate]
    on = "test"
"""
RULE = "\n[gate]\nrules = [{ measure = 'accuracy', at_least = 0.9"


def job_of(folder, more):
    write_pool(folder / "train", [20])
    write_pool(folder / "test", [20])
    (folder / "mine.py").write_text(DOUBLING, "utf-8")
    indented = "\n".join(f"    {line}" for line in more.splitlines())
    return tiny_job(folder, JOB + indented)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("slices = ['classes']", "slices: 'classes' is none of 'class', 'confidence', 'length'"),
        ("slices = ['class', 'class']", "names ['class'] twice"),
        ("slices = ['length']", "'length' is of a text, and pools.test has none"),
        ("slices = ['columns.email']", "['email'] are private in pools.test"),
        ("slices = ['labels.other']", "there is no such label set"),
        ("slices = ['labels.elsewhere']", "labels.elsewhere does not label pools.test"),
        ("edges = { 'columns.size' = [1] }", "'columns.size' is no slice of numbers"),
        (
            "slices = ['columns.size']\nedges = { 'columns.size' = [2, 1] }",
            "edges of 'columns.size' must rise",
        ),
        ("former = 'elsewhere'", "evaluate.former = 'elsewhere': it does not label pools.test"),
        ("former = 'nobody'", "evaluate.former = 'nobody': there is no such label set"),
        (
            "prediction_powered = { over = 'test', strata = 'elsewhere' }",
            "labels.elsewhere does not label pools.test",
        ),
        ("prediction_powered = { over = 'tset' }", "there is no such pool"),
        (RULE + ", at_most = 1 }]", "a rule has one limit"),
        (RULE.replace(", at_least = 0.9", "") + " }]", "a rule has one limit"),
        (RULE.replace("accuracy", "mse") + " }]", "pools.test is judged by no such measure"),
        (
            RULE.replace("accuracy", "acuracy") + " }]",
            "is judged by no such measure. There is: acc",
        ),
        (RULE + ", slices = ['class'] }]", "['class'] are not among evaluate.slices"),
        (RULE + ", beside = 'former' }]", "evaluate.former names no label set"),
        (
            RULE.replace("accuracy", "roc_auc") + ", beside = 'teacher' }]",
            "no interval of its diff",
        ),
        (RULE + " }]\nstudents = ['smal']", "there is no such student"),
        (RULE + " }]\nconfidence = 1", "confidence"),
        (
            "slices = ['class']" + RULE.replace("accuracy", "f1_macro") + ", slices = ['class'] }]",
            "slices have accuracy or nll",
        ),
    ],
)
def test_what_cannot_be_judged_is_found_out_after_the_work(tmp_path, more, message):
    with pytest.raises(JobError, match=re.escape(message)):
        job_of(tmp_path, more)


def test_rows_that_taught_a_student_help_to_judge_it(tmp_path, monkeypatch):
    named = JOB.replace(
        'model = { kind = "linear" }', 'model = { kind = "linear" }\n    on = ["train"]'
    )
    monkeypatch.setattr("tests.plan.checks.test_judging.JOB", named)
    with pytest.raises(JobError, match=r"students\.small learns from pools\.train, so it agrees"):
        job_of(tmp_path, "prediction_powered = { over = 'train' }")


def test_a_gate_without_anybody_judged_is_open(tmp_path):
    write_pool(tmp_path / "train", [20])
    with pytest.raises(JobError, match="gate: nobody is judged"):
        tiny_job(
            tmp_path,
            """
            root = "root"
            [pools.train]
            path = "train"
            features = { kind = "vector", columns = ["pixels"] }
            [gate]
            rules = [{ measure = "accuracy", at_least = 0.9 }]
            """,
        )


def test_a_gate_for_a_student_that_nobody_judges_is_open(tmp_path):
    more = """
[structure.groups]
of = "pools.train"
model = { kind = "kmeans", k = 3 }
[labels.soft]
labeler = { kind = "structure", structure = "groups", gives = "soft" }
over = ["train"]
[students.grouped]
model = { kind = "linear" }
[[students.grouped.terms]]
learns = "labels.soft"
loss = { kind = "cross_entropy" }
[gate]
students = ["grouped"]
rules = [{ measure = "accuracy", at_least = 0.9 }]
"""
    with pytest.raises(JobError, match=r"gate\.students: \['grouped'\] have no head"):
        job_of(tmp_path, more)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("slices = ['columns.nothing']", "nothing"),
        ("slices = ['columns.size']", "'size' has numbers (float), of which each would be a slice"),
        (
            "slices = ['columns.kind']\nedges = { 'columns.kind' = [1] }",
            "columns.kind of pools.test is string, and no number",
        ),
        ("slices = ['columns.pixels']", "which no slice is told by"),
    ],
)
def test_a_column_that_no_slice_can_go_by_is_found_out_after_the_work(tmp_path, more, message):
    workspace = Workspace(job_of(tmp_path, more))
    with pytest.raises(PoolError, match=re.escape(message)):
        check_sliced_columns(workspace)
