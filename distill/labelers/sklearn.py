"""A scikit-learn estimator as a labeler, loaded by skops: types that it does not know are refused
by name, and nothing is unpickled.

A classifier's logits are the logarithms of `predict_proba`: their softmax is what it predicted. Its
classes are its own `classes_`; a job that names them must name the same.

An estimator that was fitted on a table with named columns (`feature_names_in_`) is given such a
table, the pool's columns matched by name. A pool that holds a row as one list has no names to
match, so its numbers are taken in their order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from distill.core.errors import JobError, LabelerError, MissingExtraError
from distill.labelers.answers import logits_of
from distill.labelers.base import Inputs, Labeler, Matrix
from distill.labelers.kind import Classes, ModelLabelerKind
from distill.labelers.runtime import Runtime
from distill.labelers.skops_file import stored_classes
from distill.labelers.validation import clipped, require_classes
from distill.models.files import local_model
from distill.pools.features import as_matrix
from distill.spec.base import Positive


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
    """Default: `classes_` of the estimator, written as text; none for one without."""
    width: Positive = 1
    """Numbers a row of `predict`; for estimators without classes."""
    trusted: tuple[str, ...] = ()
    """Types in the file that skops does not trust by itself and you do, such as
    "mypackage.MyTransformer"."""

    def build(self, runtime: Runtime) -> Labeler:
        file = runtime.local_model()
        estimator = _load(file, self.trusted)
        classes = self.class_names or stored_classes(file)
        if runtime.outputs is not None and runtime.outputs.kind == "value" and classes:
            # a set that was begun before classes were asked for: numbers, as `predict` has them
            return EstimatorLabeler(estimator, (), runtime.columns, as_values=True)
        return EstimatorLabeler(estimator, classes, runtime.columns)

    def own_classes(self, uri: str, where: str) -> tuple[str, ...]:
        files = self.identify(uri, where)
        try:
            model = local_model(files)
        except JobError:
            if self.sha256:  # labels are read where the pinned model is not
                return ()
            raise
        return stored_classes(model)


class EstimatorLabeler:
    """`predict_proba` of an estimator with classes, else `predict`."""

    def __init__(
        self,
        estimator: Any,
        classes: tuple[str, ...],
        columns: tuple[str, ...] = (),
        *,
        as_values: bool = False,
    ) -> None:
        self.estimator = estimator
        self.classes = classes
        # names of the estimator's columns, each with where the pool has it; None without names
        self.columns = _column_order(estimator, columns)
        if not classes:
            if not as_values:
                _require_no_classes(estimator)
            return
        if not hasattr(estimator, "predict_proba"):
            raise LabelerError(
                f"{type(estimator).__name__} has no predict_proba. Calibrate it"
                " (sklearn.calibration.CalibratedClassifierCV)."
            )
        # its classes may be numbers, and those of a job file are text
        own_classes = [str(name) for name in estimator.classes_]
        require_classes("sklearn", classes, own_classes)

    def label(self, features: Inputs) -> Matrix:
        """Return logits (rows, classes), or numbers as `predict` has them."""
        rows: Any = as_matrix(features)
        if self.columns is not None:
            rows = _named_columns(rows, self.columns)
        if not self.classes:
            values: Matrix = self.estimator.predict(rows)
            return values
        predicted = self.estimator.predict_proba(rows)
        probabilities = np.asarray(predicted)
        try:
            logits: Matrix = logits_of(probabilities, exclusive=True)
        except ValueError as error:
            raise LabelerError(
                f"predict_proba of {type(self.estimator).__name__}: {error}. A multi-label"
                " classifier needs a labeler of your own, with `exclusive = False` and"
                ' `answers = "probabilities"`.'
            ) from None
        return logits


def _column_order(estimator: Any, columns: tuple[str, ...]) -> dict[str, int] | None:
    """The estimator's columns in its order, each with where the pool has it; None where it does not
    know them by name. Raises LabelerError where the pool has others."""
    known = getattr(estimator, "feature_names_in_", None)
    if known is None:
        return None
    names = [str(name) for name in known]
    if len(columns) <= 1 < len(names):  # one list a row: its numbers have no names
        columns = tuple(names)
    if sorted(columns) != sorted(names):
        raise LabelerError(
            f"{type(estimator).__name__} was fitted on the columns {clipped(names)}, but the pool's"
            f" features are {clipped(columns)}. Name the same columns, in any order."
        )
    return {name: columns.index(name) for name in names}


def _named_columns(rows: Matrix, columns: dict[str, int]) -> Any:
    try:
        import pandas
    except ModuleNotFoundError:
        raise MissingExtraError("pandas", "sklearn", "an estimator fitted on a table") from None
    ordered = rows[:, list(columns.values())]
    names = list(columns)
    return pandas.DataFrame(ordered, columns=names)


def _require_no_classes(estimator: Any) -> None:
    """Refuse a classifier whose classes nobody knows. Raises LabelerError."""
    own_classes = getattr(estimator, "classes_", None)
    if own_classes is not None:
        names = [str(name) for name in own_classes]
        named = clipped(names)
        raise LabelerError(
            f"{type(estimator).__name__} is a classifier, and the job names no classes. Write"
            f" classes = {named}."
        )


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
