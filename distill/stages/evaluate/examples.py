"""Some rows of the test pool, read again to be shown: what a reader of features sees of them, so
that no private column is among it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.core.judgement import Example
from distill.loader.dataset import Dataset
from distill.plan.candidates import Method
from distill.spec.outputs import Outputs
from distill.spec.pools import ImageFeatures, TextFeatures
from distill.stages.evaluate.evaluator import TARGET
from distill.stages.evaluate.predictions import predictions_of
from distill.stages.thumbnails import thumbnail

_TEXT_CHARACTERS = 160
_SHOWN_NUMBERS = 4


@dataclass(frozen=True)
class ReadExamples:
    """`read()` → examples by the rows' numbers, where the method can be asked."""

    dataset: Dataset
    truth: Outputs
    method: Method
    rows: tuple[int, ...]

    def __call__(self) -> dict[int, Example]:
        return {row: self._example(row) for row in self.rows}

    def _example(self, row: int) -> Example:
        dataset = self.dataset
        chunk = dataset.chunk_of(row)
        inventory = dataset.inventories[chunk.pool]
        rows = dataset.load(chunk)
        (predicted,) = predictions_of(self.method, rows, self.truth)
        (seen,) = rows["features"]
        (truth,) = rows[f"{TARGET}.target"]
        text = ""
        png = ""
        if isinstance(dataset.features, TextFeatures):
            whole = str(seen)
            text = whole[:_TEXT_CHARACTERS]
        if isinstance(dataset.features, ImageFeatures):
            png = thumbnail(seen)
        return Example(
            shard=inventory.shard(chunk.shard).key,
            row=chunk.start,
            truth=self._true(truth),
            said=self._said(predicted),
            text=text,
            png=png,
        )

    def _true(self, truth: Any) -> str:
        if self.truth.kind == "value":
            values = np.atleast_1d(truth)
            return _numbers(values)
        if self.truth.exclusive:
            number = int(truth)
            return self.truth.classes[number]
        return self._flagged(np.asarray(truth) > 0.5)

    def _said(self, predicted: npt.NDArray[np.float64]) -> str:
        if self.truth.kind == "value":
            return _numbers(predicted)
        if self.truth.exclusive:
            best = int(predicted.argmax())
            return f"{self.truth.classes[best]} ({100 * predicted[best]:.0f}%)"
        flags = predicted > 0.5
        return self._flagged(flags)

    def _flagged(self, flags: npt.NDArray[np.bool_]) -> str:
        named = [name for name, flag in zip(self.truth.classes, flags, strict=True) if flag]
        listed = ", ".join(named)
        return listed or "none"


def _numbers(values: npt.NDArray[Any]) -> str:
    shown = ", ".join(f"{value:.4g}" for value in values[:_SHOWN_NUMBERS].tolist())
    return f"{shown}, …" if len(values) > _SHOWN_NUMBERS else shown
