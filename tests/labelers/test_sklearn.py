from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from distill.core.errors import LabelerError
from distill.labelers.sklearn import Sklearn
from tests.labelers.asking import answers, build, log_softmax
from tests.late import Late

SKOPS = Late("skops.io")

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(80, 5)).astype(np.float32)
KIND = np.array(["cold", "mild", "warm"])[np.digitize(X[:, 0], [-0.5, 0.5])]
NAMES = ["cold", "mild", "warm"]


def labeler(tmp_path, estimator, *, columns=(), **more):
    file = tmp_path / "model.skops"
    SKOPS.dump(estimator, file)
    table = json.dumps({"kind": "sklearn", "model": "m", **more})
    return build(Sklearn.model_validate_json(table), file, columns=columns)


def test_a_classifiers_probabilities_are_not_what_its_logits_say(tmp_path):
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, KIND)
    made = answers(labeler(tmp_path, estimator, classes=NAMES), X, 3)
    np.testing.assert_allclose(np.exp(log_softmax(made)), estimator.predict_proba(X), atol=1e-6)


def test_a_probability_of_nothing_is_no_label(tmp_path):
    estimator = DecisionTreeClassifier().fit(X, KIND)
    made = answers(
        labeler(tmp_path, estimator, classes=NAMES, trusted=["sklearn.tree._tree.Tree"]), X, 3
    )
    assert np.isfinite(made).all()
    np.testing.assert_allclose(np.exp(log_softmax(made)), estimator.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("targets", [1, 3])
def test_a_regressors_numbers_differ(tmp_path, targets):
    due = X @ DRAW.normal(size=(5, targets))
    estimator = Ridge().fit(X, due[:, 0] if targets == 1 else due)
    made = answers(labeler(tmp_path, estimator, width=targets), X, targets)
    np.testing.assert_allclose(made, estimator.predict(X).reshape(80, targets), atol=1e-5)


def test_classes_in_another_order_label_silently(tmp_path):
    estimator = LogisticRegression().fit(X, KIND)
    with pytest.raises(LabelerError, match=r"in another order: \['cold', 'mild', 'warm'\]"):
        labeler(tmp_path, estimator, classes=["warm", "mild", "cold"])
    numbers = LogisticRegression().fit(X, (X[:, 0] > 0).astype(int))
    assert labeler(tmp_path, numbers, classes=["0", "1"]).label(X).shape == (80, 2)


def test_a_classifier_without_probabilities_is_not_told_so(tmp_path):
    with pytest.raises(LabelerError, match=r"LinearSVC has no predict_proba\. Calibrate it"):
        labeler(tmp_path, LinearSVC().fit(X, KIND), classes=NAMES)


def test_a_file_runs_code_that_nobody_trusts(tmp_path):
    estimator = make_pipeline(FunctionTransformer(twice), LogisticRegression()).fit(X, KIND)
    with pytest.raises(
        LabelerError,
        match=r"types that skops does not know: \['tests\.labelers\.test_sklearn\.twice'\]",
    ):
        labeler(tmp_path, estimator, classes=NAMES)
    trusted = labeler(
        tmp_path, estimator, classes=NAMES, trusted=["tests.labelers.test_sklearn.twice"]
    )
    np.testing.assert_allclose(np.exp(trusted.label(X)), estimator.predict_proba(X), atol=1e-6)


def twice(x):
    return 2 * x


def columns_model(names):
    """A classifier of a table, in which only the column "height" counts."""
    table = pd.DataFrame(X[:, : len(names)], columns=names)
    return LogisticRegression().fit(table, np.where(table["height"] > 0, "tall", "short"))


@pytest.mark.parametrize("columns", [("height", "age"), ("age", "height")])
def test_columns_are_taken_by_position(tmp_path, columns):
    estimator = columns_model(["height", "age"])
    made = labeler(tmp_path, estimator, columns=columns, classes=["short", "tall"])
    rows = np.array([[2.0, 0.0]], np.float32)
    height = 2.0 if columns[0] == "height" else 0.0
    due = estimator.predict_proba(pd.DataFrame([[height, 2.0 - height]], columns=["height", "age"]))
    np.testing.assert_allclose(np.exp(log_softmax(made.label(rows))), due, atol=1e-6)


def test_columns_of_other_names_are_taken_for_the_models(tmp_path):
    estimator = columns_model(["height", "age"])
    named = r"columns \['height', 'age'\], but the pool's features are \['height', 'weight'\]"
    with pytest.raises(LabelerError, match=named):
        labeler(tmp_path, estimator, columns=("height", "weight"), classes=["short", "tall"])
    as_list = labeler(tmp_path, estimator, columns=("both",), classes=["short", "tall"])
    assert as_list.label(X[:, :2]).argmax(axis=1).tolist() == (X[:, 0] > 0).astype(int).tolist()


def test_a_transformer_that_picks_columns_by_name_raises(tmp_path):
    table = pd.DataFrame(X[:, :2], columns=["height", "age"])
    picks = ColumnTransformer([("one", StandardScaler(), ["height"])])
    estimator = make_pipeline(picks, LogisticRegression()).fit(table, table["height"] > 0)
    made = labeler(tmp_path, estimator, columns=("age", "height"), classes=["False", "True"])
    assert made.label(X[:, 1::-1]).argmax(axis=1).tolist() == (X[:, 0] > 0).astype(int).tolist()


def test_a_classifier_without_named_classes_answers_numbers(tmp_path, monkeypatch):
    made = labeler(tmp_path, LogisticRegression().fit(X, KIND))
    assert made.classes == ("cold", "mild", "warm")
    assert made.label(X).shape == (80, 3)
    monkeypatch.setattr("distill.labelers.sklearn.stored_classes", lambda _file: ())
    with pytest.raises(LabelerError, match=r"names no classes\. Write classes = \['cold', 'mild"):
        labeler(tmp_path, LogisticRegression().fit(X, KIND))


def test_several_labels_of_a_row_are_taken_for_exclusive_ones(tmp_path):
    both = np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(int)
    estimator = OneVsRestClassifier(LogisticRegression()).fit(X, both)
    with pytest.raises(LabelerError, match="A multi-label classifier needs a labeler of your own"):
        labeler(tmp_path, estimator, classes=["0", "1"]).label(X)
