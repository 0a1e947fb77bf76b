from __future__ import annotations

import json

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from distill.core.errors import LabelerError
from distill.labelers.sklearn import Sklearn
from tests.labelers.asking import answers, build, log_softmax

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(80, 5)).astype(np.float32)
KIND = np.array(["cold", "mild", "warm"])[np.digitize(X[:, 0], [-0.5, 0.5])]
NAMES = ["cold", "mild", "warm"]


def labeler(tmp_path, estimator, **more):
    file = tmp_path / "model.skops"
    skops.io.dump(estimator, file)
    table = json.dumps({"kind": "sklearn", "model": "m", **more})
    return build(Sklearn.model_validate_json(table), file)


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
