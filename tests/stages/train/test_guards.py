"""What cannot be learned is said with what to do about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from distill.core.errors import UnlearnableError
from distill.engine.protocol import WorkerContext
from distill.spec.students import Agreement, ClassBalance
from distill.stages.train.guards import require_rows
from distill.stages.train.loop import run_trainings
from distill.storage.open import open_storage
from tests.making import label_by_worker
from tests.resolved import plan_student
from tests.tiny import DOUBLING, tiny_job, write_pool

JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    [students.small]
    model = { kind = "linear" }
    training = { epochs = 1, batch_rows = 64, lanes = 4 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
    row_weight = { kind = "confidence", power = 1e5 }
"""


def made(folder, text):
    write_pool(folder / "rows", [64])
    (folder / "mine.py").write_text(DOUBLING, "utf-8")
    job = tiny_job(folder, text)
    label_by_worker(job, "teacher")
    return plan_student(job, job.variants[0])


@pytest.fixture
def plan(tmp_path):
    return made(tmp_path, JOB)


def test_a_checkpoint_within_an_epoch_holds_what_is_no_number_or_ends_the_training_as_a_mistake(
    tmp_path,
):
    text = JOB.replace(
        "batch_rows = 64", "batch_rows = 8, checkpoint_steps = 3, learning_rate = 3e38"
    )
    plan = made(tmp_path, text[: text.index("    row_weight")])
    with pytest.raises(UnlearnableError, match=r"small: in epoch 1 .*no number.*Lower training"):
        run_trainings([plan], WorkerContext(0, 1, "cpu"))
    assert not list(open_storage(plan.folder).list_objects())


def test_row_weights_that_underflow_are_told_as_unknown_targets(plan):
    with pytest.raises(
        UnlearnableError,
        match=r"small: kl to labels\.teacher, rows weighted by confidence: not one row counts.*rejects, or lower row_weight\.power = 100000, by which",
    ):
        run_trainings([plan], WorkerContext(0, 1, "cpu"))


@pytest.mark.parametrize(
    ("row_weight", "said"),
    [
        (
            Agreement(kind="agreement", scale=1e-6),
            r"counts.*rejects, or raise row_weight\.scale = 1e-06, by which",
        ),
        (ClassBalance(kind="class_balance"), r"is known to it.*rejects\.$"),
        (None, r"is known to it.*rejects\.$"),
    ],
)
def test_row_weights_that_cannot_be_to_blame_are_blamed(plan, row_weight, said):
    terms = [replace(term, row_weight=row_weight) for term in plan.terms]
    with pytest.raises(UnlearnableError, match=rf"not one row {said}"):
        require_rows(terms, [0.0])
