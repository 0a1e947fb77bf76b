"""What is written of a row is what the label sets say, whatever their encoding and meaning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from distill.core.cascades import Threshold
from distill.labels.encoding import encode
from distill.stages.apply.answers import (
    Others,
    answer_columns,
    answers_of,
    cascade_columns,
    in_order,
)
from tests.making import a_contract, a_topk_contract, a_value_contract

LABELLED = np.array([True, True, False, True])


def encoded(contract, seed=0):
    logits = np.random.default_rng(seed).normal(size=(4, contract.width)).astype(np.float32)
    return logits, encode(logits, LABELLED, contract)


def lists(columns):
    return {name: column.to_pylist() for name, column in columns.items()}


def test_independent_outputs_are_named_where_they_are_likelier_than_not():
    contract = replace(a_contract(), exclusive=False)
    logits, table = encoded(contract)
    found = lists(answer_columns(answers_of(table, contract), contract, probabilities=True))
    due = [[name for name, z in zip("abc", row, strict=True) if z > 0] for row in logits]
    due[2] = None
    assert found["classes"] == due
    np.testing.assert_allclose(found["probabilities"][1], 1 / (1 + np.exp(-logits[1])), atol=1e-6)
    assert (found["probabilities"][2], found["rejected"]) == (None, [False, False, True, False])
    assert "class" not in found


@pytest.mark.parametrize("width", [1, 3])
def test_values_are_written_as_they_are(width):
    contract = a_value_contract(width)
    values, table = encoded(contract)
    columns = answer_columns(answers_of(table, contract), contract, probabilities=True)
    kind = pa.float32() if width == 1 else pa.list_(pa.float32())
    assert columns["value"].type == kind
    due = values[:, 0] if width == 1 else values
    np.testing.assert_array_equal(columns["value"].to_pylist()[3], due[3])
    assert columns["value"].to_pylist()[2] is None
    assert set(columns) == {"value", "rejected"}


@pytest.mark.parametrize("temperatures", [(1.0,), (4.0, 1.0), (2.0,)])
def test_a_teacher_that_kept_its_largest_logits_answers_in_the_students_order(temperatures):
    contract = a_topk_contract(5, 3, temperatures, values="float16")
    logits, table = encoded(contract)
    classes = ("4", "2", "0", "1", "3")
    answers = answers_of(table, contract)
    found = in_order(answers, contract, classes)
    assert found.shape == (4, 5)
    np.testing.assert_allclose(found[LABELLED].sum(axis=1), 1.0)
    best = [classes[place] for place in found.argmax(axis=1)]
    assert [best[row] for row in (0, 1, 3)] == [str(logits[row].argmax()) for row in (0, 1, 3)]
    assert (answers.labelled == LABELLED).all()


def test_a_row_that_was_sent_on_and_rejected_there_is_open_and_says_so():
    contract = a_contract()
    logits, table = encoded(contract)
    answers = answers_of(table, contract)
    threshold = Threshold(
        by="confidence", threshold=0.5, labelled=9, answered=9, right=9, bound=0.9
    )
    others = Others(
        "labels.teacher",
        np.array([1, 3]),
        np.array([[0.0, 0.0, 1.0], [0.2, 0.7, 0.1]]),
        np.array([True, False]),
    )
    columns = cascade_columns(answers, contract, threshold, others, probabilities=False)
    found = lists(columns)
    own = "abc"[logits[0].argmax()]
    assert found["class"] == [own, "c", None, None]
    assert found["answered_by"] == ["student", "labels.teacher", None, "labels.teacher"]
    assert found["rejected"] == [False, False, True, True]
    assert found["student_class"][3] == "abc"[logits[3].argmax()]
    assert found["student_class"][2] is None
