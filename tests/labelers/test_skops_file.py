from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from distill.labelers.skops_file import stored_classes
from tests.late import Late

SKOPS = Late("skops.io")

X = np.random.default_rng(0).normal(size=(60, 2))
NUMBERS = np.digitize(X[:, 0], [-0.5, 0.5])


@pytest.mark.parametrize(
    "target",
    [
        NUMBERS,
        NUMBERS > 0,
        NUMBERS.astype(np.float64),
        np.array(["kühl", "mild", "warm"])[NUMBERS],
        np.array(["kühl", "mild", "warm"], object)[NUMBERS],
    ],
)
@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        GaussianNB(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        GridSearchCV(make_pipeline(StandardScaler(), GaussianNB()), {}, cv=2),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_other_classes_are_read_than_the_estimator_has(tmp_path, estimator, target):
    estimator.fit(X, target)
    SKOPS.dump(estimator, tmp_path / "model.skops")
    due = tuple(str(name) for name in estimator.classes_)
    assert stored_classes(tmp_path / "model.skops") == due


def test_a_regressor_or_another_file_has_classes_or_raises(tmp_path):
    file = tmp_path / "model.skops"
    SKOPS.dump(Ridge().fit(X, X[:, 0]), file)
    assert stored_classes(file) == ()
    file.write_bytes(b"no archive")
    assert stored_classes(file) == ()
