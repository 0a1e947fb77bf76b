"""Students that learn from some rows of one labelling: a learning curve."""

from __future__ import annotations

import pytest

from distill.core.errors import ContractError, JobError
from distill.plan.load import load_job
from distill.run import evaluate_students, train_students, write_report
from tests.tiny import blur_kinds, write_job, write_pool

JOB = """
    root = "root"
    [pools.labelled]
    path = "labelled"
    features = { kind = "vector", columns = ["pixels"] }
    target = "kind"
    classes = ["a", "b", "c"]
    [pools.test]
    path = "test"
    features = { kind = "vector", columns = ["pixels"] }
    target = "kind"
    classes = ["a", "b", "c"]
    [students.labels_only]
    model = { kind = "linear" }
    rows = { labelled = 20 }
    training = { epochs = 12, learning_rate = 0.05, batch_rows = 16, lanes = 2 }
    terms = [{ learns = "pools.labelled", loss = { kind = "cross_entropy" } }]
    [sweep.rows]
    student = "labels_only"
    "rows.labelled" = [6, 40, 240]
    seed = [0, 1]
    [evaluate]
    on = "test"
"""


@pytest.fixture
def place(tmp_path):
    for name, rows, seed in (("labelled", [150, 150], 1), ("test", [400], 2)):
        write_pool(tmp_path / name, rows)
        blur_kinds(tmp_path / name, seed)
    return tmp_path


def test_more_rows_teach_no_more_or_stand_in_no_chart(place):
    job = load_job(write_job(place, JOB))
    trained = train_students(job, engine="local")
    assert [each.record.details["rows"] for each in trained] == [[6], [6], [40], [40], [240], [240]]
    evaluation = evaluate_students(job, engine="local")
    curve = [group.mean("accuracy") for group in evaluation.students]
    assert curve[0] + 0.05 < curve[2]
    page = write_report(job, engine="local")
    with open(page) as file:
        text = file.read()
    assert text.count("By rows of labelled</h3>") == 1
    assert "rows of labelled" in text
    assert "Fewer rows are a part of more" in text


def test_a_student_without_a_limit_is_another_one_than_before(place):
    text = JOB[: JOB.index("    [sweep.rows]")] + JOB[JOB.index("    [evaluate]") :]
    text = text.replace("rows = { labelled = 20 }", "")
    with_key = text.replace("training =", "rows = {}\n    training =")
    (first,) = train_students(load_job(write_job(place, text)), engine="local")
    (second,) = train_students(load_job(write_job(place, with_key)), engine="local")
    assert first.record.digest == second.record.digest


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        (
            "{ labelled = 20 }",
            "{ labelled = 20, test = 20 }",
            JobError,
            "rows.test: that pool teaches nothing",
        ),
        ("[6, 40, 240]", "[6, 400]", ContractError, "400 rows of pools.labelled, which has 300"),
        ("[6, 40, 240]", "[6, 0]", JobError, "rows.labelled"),
    ],
)
def test_a_limit_that_no_pool_has_is_trained_with(place, old, new, error, message):
    with pytest.raises(error, match=message):
        train_students(load_job(write_job(place, JOB.replace(old, new))), engine="local")
