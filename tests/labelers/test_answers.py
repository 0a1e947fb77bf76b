from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.core.source import PythonFile
from distill.labelers.answers import as_numbers, logits_of, look_like_probabilities
from distill.labelers.base import predict
from distill.labelers.recipe import Member, Recipe
from distill.labelers.registry import build_labeler
from distill.spec.outputs import Outputs
from tests.labelers.asking import log_softmax

CLASSES = Outputs("logits", ("cold", "warm"))
VALUE = Outputs("value")
X = np.array([[1.0, 2.0], [3.0, -4.0]])
TABLE = pd.DataFrame({"warm": X[:, 1], "cold": X[:, 0]})
NAN = np.nan


@pytest.mark.parametrize(
    "answer",
    [
        X,
        X.tolist(),
        X.astype(np.float16),
        X.astype(int),
        torch.tensor(X).bfloat16(),
        torch.tensor(X, requires_grad=True),
        torch.tensor(X).to(torch.float8_e4m3fn),
        [torch.tensor(row).bfloat16() for row in X],
        TABLE,
        TABLE.set_index(pd.Index(["a", "b"])),
        TABLE.astype("Float32"),
        {"warm": X[:, 1], "cold": torch.tensor(X[:, 0]).bfloat16()},
        pa.table({"warm": X[:, 1], "cold": X[:, 0]}),
        pa.RecordBatch.from_pydict({"warm": X[:, 1], "cold": X[:, 0]}),
        np.array([(2, 1), (-4, 3)], [("warm", "f4"), ("cold", "f4")]),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_a_usual_answer_is_refused_or_its_classes_change_places(answer):
    np.testing.assert_array_equal(as_numbers(answer, CLASSES), X)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ([["1", "2"]], "list of <U1"),
        ([[b"1", b"2"]], "real numbers"),
        (TABLE.astype(str), "real numbers"),
        (X + 0j, "complex128"),
        (torch.tensor([[1j, 2]]), "complex64"),
        (None, "with None"),
        ([[None, 1.0]], "such as None"),
        ([[Decimal(1), Decimal(2)]], "Decimal"),
        (np.array([["2020"]], "M8[D]"), "datetime64"),
        ([[1, 2], [1]], "real numbers"),
        ([{"cold": 1, "warm": 2}], "names of their own"),
        ([TABLE.iloc[0], TABLE.iloc[1]], "names of their own"),
        ({"logits": torch.tensor(X)}, r"it has \[logits\], where classes \[cold, warm\] are due"),
        (pd.DataFrame(X), r"it has \[0, 1\]"),
        (TABLE.assign(mild=1), r"\[warm, cold, mild\]"),
        (pd.DataFrame(X, columns=["cold", "cold"]), r"columns twice: \['cold'\]"),
        (TABLE[::-1], "another order"),
        (TABLE["warm"][::-1], "another order"),
        (np.ma.masked_array([["1"]]), "real numbers"),
    ],
)
def test_what_nobody_meant_is_cast_to_numbers(answer, says):
    with pytest.raises(ValueError, match=says):
        as_numbers(answer, CLASSES)


@pytest.mark.parametrize(
    "answer",
    [
        np.ma.masked_array(X, [[0, 0], [1, 0]]),
        list(np.ma.masked_array(X, [[0, 0], [1, 0]])),
        np.ma.masked_array(X.astype(int), [[0, 0], [1, 0]]),
        pd.DataFrame({"cold": pd.array([1, None], "Int64"), "warm": X[:, 1]}),
        pa.table({"cold": [1, None], "warm": X[:, 1]}),
    ],
)
def test_what_lies_under_a_mask_becomes_a_label(answer):
    np.testing.assert_array_equal(as_numbers(answer, CLASSES), [[1, 2], [NAN, -4]])


def test_values_in_a_table_of_several_columns_have_no_order():
    np.testing.assert_array_equal(as_numbers(TABLE["warm"], VALUE), X[:, 1])
    np.testing.assert_array_equal(as_numbers(TABLE[["warm"]], VALUE), X[:, 1:])
    with pytest.raises(ValueError, match="values have no names"):
        as_numbers(TABLE, VALUE)


@settings(max_examples=40, deadline=None)
@given(st.permutations("abcde"), st.integers(0, 2**32 - 1))
def test_a_table_in_any_order_of_columns_says_something_else(order, seed):
    numbers = np.random.default_rng(seed).normal(size=(3, 5))
    columns = {name: numbers[:, "abcde".index(name)] for name in order}
    for table in (columns, pd.DataFrame(columns), pa.table(columns)):
        np.testing.assert_array_equal(as_numbers(table, Outputs("logits", tuple("abcde"))), numbers)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.float16, np.float32, np.float64]))
def test_declared_probabilities_become_other_ones(seed, dtype):
    logits = 3 * np.random.default_rng(seed).normal(size=(20, 4))
    p = np.exp(log_softmax(logits)).astype(dtype)
    assert look_like_probabilities(p, exclusive=True) or dtype is np.float16
    made = logits_of(p, exclusive=True)
    np.testing.assert_allclose(np.exp(log_softmax(made)), p, atol=2e-3)
    sigmoid = (1 / (1 + np.exp(-logits))).astype(dtype)
    assert look_like_probabilities(sigmoid, exclusive=False)
    made = logits_of(sigmoid, exclusive=False)
    np.testing.assert_allclose(1 / (1 + np.exp(-made)), sigmoid, atol=2e-3)
    assert not look_like_probabilities(logits, exclusive=True)
    assert not look_like_probabilities(logits, exclusive=False)


def test_probabilities_of_0_and_1_are_no_labels_and_wrong_ones_are_taken():
    for exclusive in (True, False):
        made = logits_of(np.array([[0.0, 1.0], [NAN, 0.5]]), exclusive=exclusive)
        assert np.isfinite(made[0]).all()
        assert np.isnan(made[1]).any()
    with pytest.raises(ValueError, match=r"row 1 of the answer .* that sum to 1: 0\.5 0\.2"):
        logits_of(np.array([[0.5, 0.5], [0.5, 0.2]]), exclusive=True)
    with pytest.raises(ValueError, match=r"in 0\.\.1: 2 0\.2"):
        logits_of(np.array([[2.0, 0.2]]), exclusive=False)
    assert look_like_probabilities(np.array([[20.0, 80.0]]), exclusive=True)


ANSWERING = """
import numpy as np
class Mine:
    def label(self, features):
        return np.stack([1 - features[:, 0], features[:, 0]], axis=1)
class Finishing(Mine):
    def finish(self, answer):
        return {"warm": answer[:, 1], "cold": answer[:, 0]}
"""
P = np.array([[0.25], [0.5]], np.float32)


def recipe(name="Mine", **more):
    source = PythonFile("mine.py", ANSWERING)
    return Recipe(form="custom", source=source, name=name, outputs=CLASSES, width=2, **more)


@pytest.mark.parametrize("name", ["Mine", "Finishing"])
def test_probabilities_are_taken_for_logits_in_silence(name):
    notes = []
    labeler = build_labeler(recipe(name), tell=notes.append)
    np.testing.assert_array_equal(predict(labeler, P, 2).outputs[:, 1:], P)
    predict(labeler, P, 2)
    (note,) = notes
    assert 'answers = "probabilities"' in note
    calm = build_labeler(recipe(name, answers="probabilities"), tell=notes.append)
    made = predict(calm, P, 2).outputs
    np.testing.assert_allclose(made, np.log([[0.75, 0.25], [0.5, 0.5]]), rtol=1e-6)
    halved = build_labeler(recipe(name, answers="probabilities", temperature=2.0))
    np.testing.assert_allclose(predict(halved, P, 2).outputs, made / 2)
    assert len(notes) == 1


def test_a_member_that_answers_probabilities_is_not_named():
    notes = []
    members = tuple(Member("custom:Mine", recipe(), 0.5, None) for _ in range(2))
    ensemble = Recipe(form="ensemble", members=members, outputs=CLASSES, width=2)
    predict(build_labeler(ensemble, tell=notes.append), P, 2)
    assert [note.partition(":")[0] for note in notes] == ["member 0 (custom", "member 1 (custom"]
