"""A scikit-learn estimator as a labeler, loaded by skops: types that it does not know are refused
by name, and nothing is unpickled.

A classifier's logits are the logarithms of `predict_proba`: their softmax is what it said. A
probability of 0 counts as e⁻³⁰, since a label must be finite.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from distill.core.errors import LabelerError
from distill.labelers.base import Inputs, Matrix
from distill.labelers.runtime import Runtime
from distill.labelers.validation import require_classes
from distill.pools.features import as_matrix
from distill.spec.ready import Ready, Sklearn

_LEAST = np.exp(-30.0)


class EstimatorLabeler:
    """`predict_proba` where the job names classes, else `predict`."""

    def __init__(self, spec: Ready, place: Runtime) -> None:
        assert isinstance(spec, Sklearn)
        self.estimator = _load(place.model, spec.trusted)
        self.classes = spec.class_names
        if self.classes:
            if not hasattr(self.estimator, "predict_proba"):
                raise LabelerError(
                    f"{type(self.estimator).__name__} has no predict_proba. Calibrate it"
                    " (sklearn.calibration.CalibratedClassifierCV), or leave classes out."
                )
            require_classes("sklearn", self.classes, list(map(str, self.estimator.classes_)))

    def label(self, features: Inputs) -> Matrix:
        rows = as_matrix(features)
        if not self.classes:
            return cast("Matrix", self.estimator.predict(rows))
        return cast("Matrix", np.log(np.maximum(self.estimator.predict_proba(rows), _LEAST)))


def _load(file: Path, trusted: tuple[str, ...]) -> Any:
    import skops.io

    unknown = [name for name in skops.io.get_untrusted_types(file=file) if name not in trusted]
    if unknown:
        raise LabelerError(
            f"{file} holds types that skops does not know: {unknown}. Look at them; where you trust"
            " their code, name them in `trusted`."
        )
    return skops.io.load(file, trusted=list(trusted))
