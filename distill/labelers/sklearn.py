"""A scikit-learn estimator as a labeler, loaded by skops: types that it does not know are refused
by name, and nothing is unpickled.

A classifier's logits are the logarithms of `predict_proba`: their softmax is what it predicted. A
probability of 0 counts as e⁻³⁰, since a label must be finite.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from distill.core.errors import LabelerError
from distill.labelers.base import Inputs, Labeler, Matrix
from distill.labelers.kind import Classes, ModelLabelerKind
from distill.labelers.runtime import Runtime
from distill.labelers.validation import require_classes
from distill.pools.features import as_matrix
from distill.spec.base import Positive

_LEAST = np.exp(-30.0)


class Sklearn(ModelLabelerKind):
    """A scikit-learn estimator, saved by `skops.io.dump`. With classes: `predict_proba`, as
    log-probabilities; else `predict`."""

    reads = "numbers"
    libraries = {"sklearn": "scikit-learn", "skops": "skops"}
    extra = "sklearn"
    own_precision = True
    fills_folder = False
    location_keys = ModelLabelerKind.location_keys | {"trusted"}

    kind: Literal["sklearn"]
    classes: Classes | None = None
    """As `classes_` of the estimator has them, written as text."""
    width: Positive = 1
    """Numbers a row of `predict`; for estimators without classes."""
    trusted: tuple[str, ...] = ()
    """Types in the file that skops does not trust by itself and you do, such as
    "mypackage.MyTransformer"."""

    def build(self, runtime: Runtime) -> Labeler:
        file = runtime.local_model()
        estimator = _load(file, self.trusted)
        return EstimatorLabeler(estimator, self.class_names)


class EstimatorLabeler:
    """`predict_proba` where the job names classes, else `predict`."""

    def __init__(self, estimator: Any, classes: tuple[str, ...]) -> None:
        self.estimator = estimator
        self.classes = classes
        if not classes:
            return
        if not hasattr(estimator, "predict_proba"):
            raise LabelerError(
                f"{type(estimator).__name__} has no predict_proba. Calibrate it"
                " (sklearn.calibration.CalibratedClassifierCV), or leave classes out."
            )
        # its classes may be numbers, and those of a job file are text
        own_classes = [str(name) for name in estimator.classes_]
        require_classes("sklearn", classes, own_classes)

    def label(self, features: Inputs) -> Matrix:
        """Return logits (rows, classes), or numbers as `predict` has them."""
        rows = as_matrix(features)
        if not self.classes:
            values: Matrix = self.estimator.predict(rows)
            return values
        probabilities = self.estimator.predict_proba(rows)
        positive = np.maximum(probabilities, _LEAST)
        logits: Matrix = np.log(positive)
        return logits


def _load(file: Path, trusted: tuple[str, ...]) -> Any:
    """Load an estimator. Raises LabelerError where it holds types that are not trusted."""
    import skops.io

    # looked at before anything of the file is made
    found = skops.io.get_untrusted_types(file=file)
    unknown = [name for name in found if name not in trusted]
    if unknown:
        raise LabelerError(
            f"{file} holds types that skops does not know: {unknown}."
            " Look at them; where you trust their code, name them in `trusted`."
        )
    return skops.io.load(file, trusted=list(trusted))
