"""The gate by itself: few rows, rows that are all right, and classes that no row has never pass."""

from __future__ import annotations

import numpy as np
import pytest

from distill.core.judgement import FAILED, INCONCLUSIVE, PASSED
from distill.labelers.recipe import Recipe
from distill.plan.candidates import Candidate, Method
from distill.plan.steps import GatePlan
from distill.spec.evaluation import Gate, Rule
from distill.spec.outputs import Outputs
from distill.stages.evaluate import judged_sums
from distill.stages.evaluate.comparisons import compare
from distill.stages.evaluate.evaluator import LEFT_OUT, PAIRS, SLICES
from distill.stages.evaluate.gate import hold
from distill.stages.evaluate.judged_sums import JudgedSums
from distill.stages.evaluate.metrics import sum_classes, sum_independent
from distill.stages.evaluate.pairs import pair_classes
from distill.stages.evaluate.resampling import draw
from distill.stages.evaluate.row_scores import row_scores
from distill.stages.evaluate.slice_sums import MOST_VALUES, OTHERS, SliceSums

TEACHER = "labels.teacher"
STUDENT = "students.small.main"


def judged(kind, truth, predicted, slicing, values, classes):
    """What is summed up of methods' predictions (B, C), by key, and of one slicing."""
    row = np.arange(len(truth))
    draws = draw(row, 200)
    sums = {LEFT_OUT: {"left_out": np.zeros(1)}}
    for key, each in predicted.items():
        if kind == "exclusive":
            sums[key] = sum_classes(each, truth, None, draws)
        else:
            sums[key] = sum_independent(each, truth, None, draws)
    if kind == "exclusive":
        sums[PAIRS] = pair_classes(list(predicted.values()), truth)
    scores = np.stack([row_scores(kind, each, truth) for each in predicted.values()], axis=1)
    away = np.square(scores - scores[:, :1])
    blocks = [each.reshape(len(row), -1) for each in (scores, np.square(scores), away)]
    table = np.concatenate([np.ones((len(row), 1)), *blocks], axis=1)
    sliced = SliceSums.of(np.array(values, object), table, row, np.zeros(len(row)))
    sums[SLICES] = {slicing: sliced}
    outputs = Outputs("logits", classes, kind == "exclusive")
    candidates = tuple(
        Candidate(
            method=Method(key, outputs),
            name=key,
            role="teacher" if key == TEACHER else "student",
            pin="",
            width=len(classes),
            recipe=Recipe(form="network"),
        )
        for key in predicted
    )
    seen = [True] * len(classes)
    keys = tuple(predicted)
    return JudgedSums(sums, candidates, kind, seen, keys, (TEACHER,), len(row), classes)


def states(sums, **rule):
    gate = Gate(rules=(Rule(**rule),))
    found = hold(GatePlan(gate, (STUDENT,), TEACHER, None), sums)
    return {each.value: each.state for each in found.results}


def of_classes(truth, classes):
    return np.eye(len(classes))[truth]


def test_a_class_that_no_row_has_is_passed():
    """It may be the rare one that the rule is there for."""
    classes = ("a", "b", "rare")
    truth = np.arange(200) % 2
    right = of_classes(truth, classes)
    values = [classes[each] for each in truth]
    sums = judged("exclusive", truth, {TEACHER: right, STUDENT: right}, "class", values, classes)
    found = states(sums, measure="accuracy", at_least=0.5, slices=("class",))
    assert found == {"a": PASSED, "b": PASSED, "rare": INCONCLUSIVE}


def test_slices_that_are_not_told_apart_are_passed_together():
    classes = ("a", "b")
    truth = np.zeros(40 * (MOST_VALUES + 1), np.int64)
    right = of_classes(truth, classes)
    values = [f"source {each % (MOST_VALUES + 1)}" for each in range(len(truth))]
    both = {TEACHER: right, STUDENT: right}
    sums = judged("exclusive", truth, both, "columns.source", values, classes)
    found = states(sums, measure="accuracy", at_least=0.5, slices=("columns.source",))
    assert len(found) == MOST_VALUES + 1
    assert found.pop(OTHERS) == INCONCLUSIVE
    assert set(found.values()) == {PASSED}


@pytest.mark.parametrize("measure", ["accuracy", "f1_macro", "f1_weighted"])
@pytest.mark.parametrize("kind", ["exclusive", "independent"])
def test_thirty_rows_that_are_all_right_are_taken_for_a_hundredth_wrong_at_most(kind, measure):
    """No resample of them differs; a method that is wrong on every twentieth shows such 30 rows in
    a fifth of draws."""
    classes = ("a", "b")
    truth = np.arange(30) % 2
    right = of_classes(truth, classes)
    target = truth if kind == "exclusive" else right
    values = ["all"] * 30
    sums = judged(kind, target, {TEACHER: right, STUDENT: right}, "columns.x", values, classes)
    assert states(sums, measure=measure, at_least=0.99) == {"": INCONCLUSIVE}
    assert states(sums, measure=measure, at_least=0.6) == {"": PASSED}
    if measure == "accuracy":
        sliced = {"slices": ("columns.x",)}
        assert states(sums, measure=measure, at_least=0.99, **sliced) == {"all": INCONCLUSIVE}
        assert states(sums, measure=measure, at_least=0.8, **sliced) == {"all": PASSED}


@pytest.mark.parametrize("kind", ["exclusive", "independent"])
@pytest.mark.parametrize("slices", [(), ("columns.x",)])
def test_a_student_passes_that_differs_from_its_teacher_on_none_of_few_rows(kind, slices):
    classes = ("a", "b")
    truth = np.arange(30) % 2
    right = of_classes(truth, classes)
    target = truth if kind == "exclusive" else right
    values = ["all"] * 30
    sums = judged(kind, target, {TEACHER: right, STUDENT: right}, "columns.x", values, classes)
    rule = {"measure": "accuracy", "beside": "teacher", "slices": slices}
    assert set(states(sums, at_least=-0.06, **rule).values()) == {INCONCLUSIVE}
    assert set(states(sums, at_least=-0.12, **rule).values()) == {PASSED}


def test_a_student_that_is_always_wrong_is_inconclusive():
    classes = ("a", "b")
    truth = np.arange(60) % 2
    right = of_classes(truth, classes)
    both = {TEACHER: right, STUDENT: 1 - right}
    sums = judged("exclusive", truth, both, "columns.x", ["all"] * 60, classes)
    assert states(sums, measure="accuracy", at_least=0.5) == {"": FAILED}
    assert states(sums, measure="accuracy", at_least=-0.5, beside="teacher") == {"": FAILED}


def test_a_student_that_differs_on_no_row_is_shown_to_differ_on_none_that_there_is():
    classes = ("a", "b")
    truth = np.arange(30) % 2
    right = of_classes(truth, classes)
    both = {TEACHER: right, STUDENT: right}
    sums = judged("exclusive", truth, both, "columns.x", ["all"] * 30, classes)
    (found,) = compare(sums, TEACHER, None)
    assert (found.difference, found.gained, found.lost) == (0, 0, 0)
    assert found.low < 0 < found.high


def test_a_gate_of_many_rules_resamples_for_each_of_them(monkeypatch):
    classes = ("a", "b")
    truth = np.arange(200) % 2
    right = of_classes(truth, classes)
    sums = judged(
        "exclusive", truth, {TEACHER: right, STUDENT: right}, "class", ["x"] * 200, classes
    )
    asked = []

    whole = judged_sums.intervals
    monkeypatch.setattr(judged_sums, "intervals", lambda *a, **o: asked.append(o) or whole(*a, **o))
    measures = ("accuracy", "f1_macro", "f1_weighted", "nll", "brier")
    gate = Gate(rules=tuple(Rule(measure=each, at_least=0.0) for each in measures))
    found = hold(GatePlan(gate, (STUDENT,), TEACHER, None), sums)
    assert len(found.results) == 5
    assert len(asked) == 1
