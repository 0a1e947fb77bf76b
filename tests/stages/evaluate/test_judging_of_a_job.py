"""A whole job with a former student, clusters, a file's column and rows that people never saw."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.judgement import FAILED, INCONCLUSIVE, PASSED
from distill.plan.load import load_job
from distill.run import run_job
from tests.tiny import write_job

JOB = """
    root = "root"
    [pools.train]
    path = "train"
    features = { kind = "vector", columns = ["x"] }
    [pools.test]
    path = "test"
    target = "kind"
    classes = ["a", "b", "c"]
    [pools.unseen]
    path = "unseen"
    [structure.groups]
    of = "pools.train"
    model = { kind = "kmeans", k = 3 }
    [labels.groups]
    labeler = { kind = "structure", structure = "groups", gives = "cluster" }
    over = ["test", "unseen"]
    [labels.teacher]
    labeler = { kind = "custom", file = "labelers.py", name = "Teacher" }
    over = ["train", "test", "unseen"]
    [labels.yesterday]
    labeler = { kind = "custom", file = "labelers.py", name = "Yesterday" }
    over = ["test"]
    [students.new]
    model = { kind = "linear" }
    training = { epochs = 12, learning_rate = 0.1, batch_rows = 64 }
    [[students.new.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
    [evaluate]
    on = "test"
    former = "yesterday"
    slices = ["labels.groups", "confidence", "columns.price"]
    edges = { "columns.price" = [10, 100] }
    prediction_powered = { over = "unseen", strata = "groups" }
    [gate]
    rules = [
        { measure = "accuracy", at_least = -0.1, beside = "teacher" },
        { measure = "accuracy", at_least = 0.5, beside = "former" },
        { measure = "nll", at_most = 0.2, beside = "former" },
        { measure = "f1_macro", at_least = -0.05, beside = "teacher" },
        { measure = "roc_auc", at_least = 0.9 },
        { measure = "nll", at_most = 3.0, slices = ["labels.groups"] },
        { measure = "accuracy", at_least = -0.2, beside = "teacher", slices = ["columns.price"] },
    ]
"""
LABELERS = """
import numpy as np

class Teacher:
    revision = "1"
    classes = ("a", "b", "c")

    def label(self, features):
        return 4 * features[:, :3]

class Yesterday(Teacher):
    def label(self, features):
        logits = 4 * features[:, :3]
        logits[:, 0] += 1.5  # it says the first class too often
        return logits
"""
ROWS = 400


def write_rows(folder, rows, seed):
    draw = np.random.default_rng(seed)
    x = draw.normal(0, 0.35, size=(rows, 3)).astype(np.float32)
    kinds = draw.integers(3, size=rows)
    x[np.arange(rows), kinds] += 1
    columns = {
        "x": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 3),
        "kind": ["abc"[kind] for kind in kinds],
        "price": draw.choice([1.0, 50.0, 500.0], p=[0.5, 0.47, 0.03], size=rows),
    }
    folder.mkdir()
    pq.write_table(pa.table(columns), folder / "part-0.parquet", row_group_size=100)
    return x, kinds


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judging")
    write_rows(folder / "train", 600, 0)
    rows = write_rows(folder / "test", ROWS, 1)
    write_rows(folder / "unseen", 4_000, 2)
    (folder / "labelers.py").write_text(LABELERS, "utf-8")
    finished = run_job(load_job(write_job(folder, JOB)), lambda _line: None, engine="local")
    return rows, finished.evaluation


def test_a_former_students_wins_are_not_counted_as_negative_flips(found):
    (x, truth), evaluation = found
    teacher = x.argmax(1) == truth
    former = (x + np.array([1.5 / 4, 0, 0])).argmax(1) == truth
    keys = evaluation.pairs.keys
    line, column = keys.index("labels.yesterday"), keys.index("labels.teacher")
    assert evaluation.pairs.wins[line][column] == (former & ~teacher).sum()
    (beside,) = [
        each
        for each in evaluation.comparisons
        if (each.first, each.second) == ("students.new.main", "labels.yesterday")
    ]
    new = keys.index("students.new.main")
    assert beside.lost == evaluation.pairs.wins[line][new]
    assert beside.gained == evaluation.pairs.wins[new][line]
    assert beside.difference == pytest.approx((beside.gained - beside.lost) / ROWS)
    assert beside.low < beside.difference < beside.high


def test_a_former_student_is_taken_for_the_teacher(found):
    _, evaluation = found
    assert evaluation.teacher == "labels.teacher"


def test_rows_are_in_other_slices_than_their_values_say(found):
    _, evaluation = found
    slicings = {}
    for each in evaluation.slices:
        slicings.setdefault(each.slicing, {})[each.value] = each
    assert {
        name: sum(each.rows for each in values.values()) for name, values in slicings.items()
    } == {
        "labels.groups": ROWS,
        "confidence": ROWS,
        "columns.price": ROWS,
    }
    assert set(slicings["labels.groups"]) == {"0", "1", "2"}
    assert set(slicings["columns.price"]) == {"below 10", "10 to 100", "from 100"}
    assert slicings["columns.price"]["from 100"].few


def test_a_rule_beside_another_is_held_against_the_measure_itself(found):
    _, evaluation = found
    by_rule = {}
    for each in evaluation.gate.results:
        by_rule.setdefault((each.rule, each.slicing), []).append(each)
    state = {rule: [each.state for each in results] for rule, results in by_rule.items()}
    assert state["accuracy beside the teacher at least -0.1", ""] == [PASSED]
    assert state["accuracy beside the former at least 0.5", ""] == [FAILED]
    assert state["nll beside the former at most 0.2", ""] == [PASSED]
    assert state["f1_macro beside the teacher at least -0.05", ""] == [PASSED]
    assert state["roc_auc at least 0.9", ""] == [PASSED]
    assert state["nll at most 3", "labels.groups"] == [PASSED] * 3
    sliced = by_rule["accuracy beside the teacher at least -0.2", "columns.price"]
    assert (sliced[0].value, sliced[0].state) == ("from 100", INCONCLUSIVE)
    assert evaluation.gate.results[0].state == FAILED
    assert evaluation.gate.state == FAILED


def test_people_and_teacher_together_tell_less_than_people_alone(found):
    _, evaluation = found
    powered = {each.measure: each for each in evaluation.powered}
    assert set(powered) == {"accuracy", "nll"}
    accuracy = powered["accuracy"]
    assert (accuracy.people_rows, accuracy.teacher_rows, accuracy.strata) == (ROWS, 4_000, 3)
    assert accuracy.low < accuracy.people_value < accuracy.high
    assert accuracy.people_value == pytest.approx(
        next(each for each in evaluation.methods if each.student).measures["accuracy"]
    )
