"""One chunk of the test pool, judged by every method at once: its rows are read once.

Shapes: B rows, C classes of the truth, W width of a value, k classes that a top-k label keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from distill.labelers.base import probabilities_of
from distill.loader.dataset import Arrays, Dataset
from distill.loader.sampler import Chunk
from distill.plan.candidates import Method
from distill.spec.outputs import Outputs
from distill.stages.evaluate.metrics import (
    Array,
    MetricSums,
    sum_classes,
    sum_independent,
    sum_values,
)

if TYPE_CHECKING:
    from distill.labelers.network import NetworkLabeler

TARGET = "target"
"""Key of the truth's column in the dataset."""
LEFT_OUT = ""
"""Key of the sums that are no method's: `left_out`, how many rows nobody is judged on."""


@dataclass(frozen=True)
class Evaluator:
    """`evaluator(chunk)` → sums by method, and those of `LEFT_OUT`. The dataset has the target and,
    as columns, each label set."""

    dataset: Dataset
    truth: Outputs
    methods: tuple[Method, ...]
    teacher: str | None
    """Key of the method that agreement is measured against."""

    def __call__(self, chunk: Chunk) -> Mapping[str, MetricSums]:
        rows = self.dataset.load(chunk)
        judged = _judged(rows)
        truth = rows[f"{TARGET}.target"][judged]
        predictions = {}
        for method in self.methods:
            predictions[method.key] = self._predictions(method, rows)[judged]
        teacher = predictions.get(self.teacher) if self.teacher else None
        sums: dict[str, MetricSums] = {}
        for key, predicted in predictions.items():
            sums[key] = self._sums(predicted, truth, teacher)
        others = ~judged
        count = others.sum()
        left_out = float(count)
        sums[LEFT_OUT] = {"left_out": np.array([left_out])}
        return sums

    def _sums(
        self, predicted: Array, truth: npt.NDArray[np.generic], teacher: Array | None
    ) -> MetricSums:
        if self.truth.kind == "value":
            values = truth.astype(np.float64)
            return sum_values(predicted, values, teacher)
        if not self.truth.exclusive:
            flags = truth.astype(np.float64)
            return sum_independent(predicted, flags, teacher)
        # agreement is on the class, and not on how probable it is
        teacher_classes = None if teacher is None else teacher.argmax(axis=1)
        numbers = truth.astype(np.int64)
        return sum_classes(predicted, numbers, teacher_classes)

    def _predictions(self, method: Method, rows: Arrays) -> Array:
        """Return probabilities of the truth's classes (B, C), or values (B, W)."""
        meaning = method.outputs
        if f"{method.key}.index" in rows:
            probabilities = _topk_probabilities(rows, method)
        else:
            outputs = _outputs(method, rows)
            probabilities = probabilities_of(outputs, meaning)
        return self._by_truth(probabilities, meaning)

    def _by_truth(self, predicted: Array, outputs: Outputs) -> Array:
        """Return the columns moved to the truth's classes; a class that the method lacks gets 0."""
        if outputs.kind == "value" or outputs.classes == self.truth.classes:
            return predicted
        positions = self.truth.positions
        moved = np.zeros((len(predicted), len(self.truth.classes)))
        for column, name in enumerate(outputs.classes):
            if name in positions:
                moved[:, positions[name]] = predicted[:, column]
        return moved


def _judged(rows: Arrays) -> npt.NDArray[np.bool_]:
    """Return (B,): rows that every label set labelled and whose target is known. All methods are
    judged on the same rows."""
    weights = [values for name, values in rows.items() if name.endswith(".weight")]
    judged: npt.NDArray[np.bool_] = np.all([weight > 0 for weight in weights], axis=0)  # type: ignore[operator]
    return judged


def _outputs(method: Method, rows: Arrays) -> Array:
    """Return a method's own outputs: stored ones, or what the network computes now."""
    if method.record is None:
        return rows[f"{method.key}.outputs"].astype(np.float64)
    labeler = _load(method)
    seen = f"{method.features}.outputs" if method.features else "features"
    features = labeler.prepare(rows[seen])
    return labeler.label(features).astype(np.float64)


def _topk_probabilities(rows: Arrays, method: Method) -> Array:
    """Return the stored probabilities in their places; what they lack of 1 is spread evenly over
    the classes that were not stored."""
    index_Bk = rows[f"{method.key}.index"].astype(np.int64)
    log_probs_Bk = rows[f"{method.key}.log_probs"].astype(np.float64)
    probs_Bk = np.exp(log_probs_Bk)
    classes = len(method.outputs.classes)
    others = max(classes - index_Bk.shape[1], 1)
    # at least 0, where the sum of what was stored rounds above 1
    missing_B1 = np.maximum(1 - probs_Bk.sum(axis=1, keepdims=True), 0)
    probs_BC = np.repeat(missing_B1 / others, classes, axis=1)
    np.put_along_axis(probs_BC, index_Bk, probs_Bk, axis=1)
    return probs_BC


_loaded: dict[tuple[str, str], NetworkLabeler] = {}
"""Models that this process has loaded, by folder and head: a folder is named after what decides the
model."""


def _load(method: Method) -> NetworkLabeler:
    import torch

    from distill.labelers.network import NetworkLabeler

    assert method.record is not None
    key = (method.folder, method.head)
    if key not in _loaded:
        # as when it labels: other numbers of threads may change the last bits
        torch.set_num_threads(1)
        _loaded[key] = NetworkLabeler.load(
            method.folder, method.record, code=method.code, head=method.head
        )
    return _loaded[key]
