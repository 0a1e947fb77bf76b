"""One chunk of the test pool, judged by every method at once: its rows are read once.

Shapes: B rows, C classes of the truth, W width of a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.loader.dataset import Arrays, Dataset
from distill.loader.sampler import Chunk
from distill.plan.candidates import Method
from distill.plan.slicing import LabelSlicing, Slicing
from distill.spec.outputs import Outputs
from distill.stages.evaluate.metrics import (
    Array,
    MetricSums,
    sum_classes,
    sum_independent,
    sum_values,
)
from distill.stages.evaluate.pairs import pair_classes, pair_independent, pair_values
from distill.stages.evaluate.prediction_powered import people_table
from distill.stages.evaluate.predictions import predictions_of
from distill.stages.evaluate.resampling import Draws, draw
from distill.stages.evaluate.row_scores import row_scores, said_by
from distill.stages.evaluate.slice_sums import SliceSums
from distill.stages.slicings import ChunkRows, label_values, slice_values

TARGET = "target"  # key of the truth's column in the dataset
LEFT_OUT = ""  # key of the sums that are no method's: `left_out`, how many rows nobody is judged on
PAIRS = " pairs"
SLICES = " slices"
# keys of what is summed over pairs of methods, by slices, and by strata. No method has such.
STRATA = " strata"
EVERYWHERE = "all"  # the stratum of all rows, where there are no others

Predictions = Mapping[str, Array]


@dataclass(frozen=True)
class Evaluator:
    """`evaluator(chunk)` → sums by method, and those of `LEFT_OUT`, `PAIRS`, `SLICES` and `STRATA`.
    The dataset has the target and, as columns, each label set."""

    dataset: Dataset
    truth: Outputs
    methods: tuple[Method, ...]
    teacher: str | None  # key of the method that agreement is measured against
    replicates: int = 0  # of the bootstrap
    paired: tuple[str, ...] = ()  # keys of the methods that are held against each other
    slicings: tuple[Slicing, ...] = ()
    beside: tuple[str, ...] = ()  # keys of the methods that slices of others are held against
    powered: tuple[str, ...] = ()  # keys of the methods that the teacher's labels help to judge
    strata: LabelSlicing | None = None
    offset: tuple[float, ...] | None = None  # near the values of the truth

    def __call__(self, chunk: Chunk) -> Mapping[str, MetricSums]:
        rows = self.dataset.load(chunk)
        judged = judged_rows(rows)
        truth = rows[f"{TARGET}.target"][judged]
        row = rows["row"][judged].astype(np.int64)
        predictions = {}
        for method in self.methods:
            predictions[method.key] = predictions_of(method, rows, self.truth)[judged]
        # the same draws for all, so that methods differ by what they say and not by their rows
        draws = draw(row, self.replicates) if self.replicates else None
        sums = {}
        for key, predicted in predictions.items():
            sums[key] = self._sums(predicted, truth, predictions, draws, row)
        total = (~judged).sum()
        left_out = float(total)
        sums[LEFT_OUT] = {"left_out": np.array([left_out])}
        if len(self.paired) > 1:
            sums[PAIRS] = self._pairs(predictions, truth)
        if self.slicings:
            seen = self._chunk_rows(chunk, rows, judged, truth, predictions)
            sums[SLICES] = self._slices(seen, predictions, row)
        if self.powered:
            sums[STRATA] = {"people": self._strata(chunk, judged, truth, predictions, row)}
        return sums

    def _sums(
        self,
        predicted: Array,
        truth: npt.NDArray[np.generic],
        predictions: Predictions,
        draws: Draws | None,
        row: npt.NDArray[np.int64],
    ) -> MetricSums:
        teacher = predictions.get(self.teacher) if self.teacher else None
        if self.truth.kind == "value":
            values = truth.astype(np.float64)
            offset = None if self.offset is None else np.array(self.offset)
            return sum_values(predicted, values, teacher, draws, row=row, offset=offset)
        if not self.truth.exclusive:
            flags = truth.astype(np.float64)
            return sum_independent(predicted, flags, teacher, draws)
        # agreement is on the class, and not on how probable it is
        teacher_classes = None if teacher is None else teacher.argmax(axis=1)
        numbers = truth.astype(np.int64)
        return sum_classes(predicted, numbers, teacher_classes, draws)

    def _pairs(self, predictions: Predictions, truth: npt.NDArray[np.generic]) -> MetricSums:
        predicted = [predictions[key] for key in self.paired]
        if self.truth.kind == "value":
            return pair_values(predicted, truth.astype(np.float64))
        if not self.truth.exclusive:
            return pair_independent(predicted, truth.astype(np.float64))
        return pair_classes(predicted, truth.astype(np.int64))

    def _chunk_rows(
        self,
        chunk: Chunk,
        rows: Arrays,
        judged: npt.NDArray[np.bool_],
        truth: npt.NDArray[np.generic],
        predictions: Predictions,
    ) -> ChunkRows:
        return ChunkRows(
            chunk=chunk,
            inventory=self.dataset.inventories[chunk.pool],
            judged=judged,
            features=rows["features"][judged],
            truth=truth,
            outputs=self.truth,
            teacher=predictions.get(self.teacher) if self.teacher else None,
        )

    def _slices(
        self, seen: ChunkRows, predictions: Predictions, row: npt.NDArray[np.int64]
    ) -> MetricSums:
        """Sum up by slice: rows, then of each method and row measure Σ x and Σ x², then of each
        method that others are held against Σ (x − its x)²."""
        truth = seen.truth
        kind = self.truth.judged_as
        by_method = [row_scores(kind, each, truth) for each in predictions.values()]
        scores = np.stack(by_method, axis=1)
        blocks = [scores, np.square(scores)]
        keys = list(predictions)
        for key in self.beside:
            reference = scores[:, [keys.index(key)]]
            blocks.append(np.square(scores - reference))
        ones = np.ones((len(row), 1))
        flat = [block.reshape(len(row), -1) for block in blocks]
        table = np.concatenate([ones, *flat], axis=1)
        students = [place for place, key in enumerate(keys) if key.startswith("students.")]
        shown = students or list(range(len(keys)))
        # the loss that stands for how far off a method is
        is_value = kind == "value"
        loss = 0 if is_value else 1
        off = scores[:, shown, loss].mean(axis=1)
        return {
            slicing.name: SliceSums.of(slice_values(slicing, seen), table, row, off)
            for slicing in self.slicings
        }

    def _strata(
        self,
        chunk: Chunk,
        judged: npt.NDArray[np.bool_],
        truth: npt.NDArray[np.generic],
        predictions: Predictions,
        row: npt.NDArray[np.int64],
    ) -> SliceSums:
        assert self.teacher is not None
        kind = self.truth.judged_as
        teacher = said_by(kind, predictions[self.teacher])
        tables = []
        for key in self.powered:
            by_people = row_scores(kind, predictions[key], truth)
            by_teacher = row_scores(kind, predictions[key], teacher)
            columns = zip(by_people.T, by_teacher.T, strict=True)
            tables += [people_table(people, proxy) for people, proxy in columns]
        values = strata_of(self.strata, chunk)[judged]
        return SliceSums.of(values, np.concatenate(tables, axis=1), row, np.zeros(len(row)))


def judged_rows(rows: Arrays) -> npt.NDArray[np.bool_]:
    """Return (B,): rows that every label set labelled and whose target is known. All methods are
    judged on the same rows."""
    weights = [values for name, values in rows.items() if name.endswith(".weight")]
    judged: npt.NDArray[np.bool_] = np.all([weight > 0 for weight in weights], axis=0)  # type: ignore[operator]
    return judged


def strata_of(strata: LabelSlicing | None, chunk: Chunk) -> npt.NDArray[np.object_]:
    """Return (B,): the stratum of each row. Raises ContractError, StorageError."""
    if strata is None:
        return np.full(chunk.rows, EVERYWHERE, object)
    return label_values(strata, chunk)
