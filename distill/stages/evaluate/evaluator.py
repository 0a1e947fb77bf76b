"""One chunk of the test pool, judged by every method at once: its rows are read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

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


@dataclass(frozen=True)
class Evaluator:
    """`judge(chunk)` → tallies by method. The source has the target and, as columns, each label
    set."""

    source: Dataset
    truth: Outputs
    methods: tuple[Method, ...]
    teacher: str | None
    """Key of the method that agreement is measured against."""

    def __call__(self, chunk: Chunk) -> Mapping[str, MetricSums]:
        rows = self.source.load(chunk)
        judged = _judged(rows)
        answers = {method.key: self._answer(method, rows)[judged] for method in self.methods}
        truth = rows[f"{TARGET}.target"][judged]
        teacher = answers.get(self.teacher) if self.teacher else None
        tallies = {key: self._tally(answer, truth, teacher) for key, answer in answers.items()}
        return {**tallies, "": {"left_out": np.array([float((~judged).sum())])}}

    def _tally(
        self, answer: Array, truth: npt.NDArray[np.generic], teacher: Array | None
    ) -> MetricSums:
        if self.truth.kind == "value":
            return sum_values(answer, truth.astype(np.float64), teacher)
        if self.truth.exclusive:
            return sum_classes(
                answer,
                truth.astype(np.int64),
                teacher.argmax(axis=1) if teacher is not None else None,
            )
        return sum_independent(answer, truth.astype(np.float64), teacher)

    def _answer(self, method: Method, rows: Arrays) -> Array:
        """Probabilities of the truth's classes (B, C), or values (B, W)."""
        if method.record is not None:
            labeler = _load(method)
            outputs = labeler.label(labeler.prepare(rows["features"])).astype(np.float64)
        elif f"{method.key}.index" in rows:
            return self._placed(_from_topk(rows, method), method.outputs)
        else:
            outputs = rows[f"{method.key}.outputs"].astype(np.float64)
        return self._placed(_probabilities(outputs, method.outputs), method.outputs)

    def _placed(self, answers: Array, outputs: Outputs) -> Array:
        """Columns moved to the truth's classes; a class that the method lacks gets 0."""
        if outputs.kind == "value" or outputs.classes == self.truth.classes:
            return answers
        placed = np.zeros((len(answers), len(self.truth.classes)))
        for column, name in enumerate(outputs.classes):
            if name in self.truth.positions:
                placed[:, self.truth.positions[name]] = answers[:, column]
        return placed


def _judged(rows: Arrays) -> npt.NDArray[np.bool_]:
    """Rows that every label set labelled and whose target is known: all methods are judged on the
    same rows."""
    weights = [values for name, values in rows.items() if name.endswith(".weight")]
    judged: npt.NDArray[np.bool_] = np.all([weight > 0 for weight in weights], axis=0)  # type: ignore[operator]
    return judged


def _probabilities(outputs: Array, meaning: Outputs) -> Array:
    if meaning.kind == "value":
        return outputs
    if not meaning.exclusive:
        return 1 / (1 + np.exp(-outputs))
    odds = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    made: Array = odds / odds.sum(axis=1, keepdims=True)
    return made


def _from_topk(rows: Arrays, method: Method) -> Array:
    """Kept probabilities in their places; what is left is spread evenly over the classes that were
    not kept."""
    index, kept = (
        rows[f"{method.key}.index"].astype(np.int64),
        np.exp(rows[f"{method.key}.log_probs"].astype(np.float64)),
    )
    classes = len(method.outputs.classes)
    others = max(classes - index.shape[1], 1)
    made = np.repeat(np.maximum(1 - kept.sum(axis=1, keepdims=True), 0) / others, classes, axis=1)
    np.put_along_axis(made, index, kept, axis=1)
    return made


_loaded: dict[tuple[str, str], NetworkLabeler] = {}
"""Models that this process has loaded, by folder and head: a folder is named after what decides the
model."""


def _load(method: Method) -> NetworkLabeler:
    import torch

    from distill.labelers.network import NetworkLabeler

    assert method.record is not None
    key = (method.folder, method.head)
    if key not in _loaded:
        torch.set_num_threads(1)
        _loaded[key] = NetworkLabeler.load(
            method.folder, method.record, code=method.code, head=method.head
        )
    return _loaded[key]
