"""All sums of an evaluation, and what every part of its result asks of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from distill.core.intervals import LEVEL, Interval
from distill.core.results import ROW_MEASURES
from distill.plan.candidates import Candidate
from distill.stages.evaluate.evaluator import LEFT_OUT, PAIRS, SLICES
from distill.stages.evaluate.measure_intervals import intervals, replicated
from distill.stages.evaluate.metrics import MetricSums, measures
from distill.stages.evaluate.slice_sums import SliceSums

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class JudgedSums:
    """What one fold over the test pool gave."""

    sums: Mapping[str, MetricSums]
    candidates: tuple[Candidate, ...]
    kind: str  # `exclusive`, `independent` or `value`
    seen: Sequence[bool]  # of each class, whether the teacher can say it
    paired: tuple[str, ...]
    beside: tuple[str, ...]  # keys of the methods that slices of others are held against
    pool_rows: int
    classes: tuple[str, ...] = ()  # of the truth

    @property
    def rows(self) -> int:
        """Rows that all methods are judged on."""
        return self.pool_rows - self.left_out

    @property
    def keys(self) -> list[str]:
        """The methods' keys, in the order of the slices' columns."""
        return [each.method.key for each in self.candidates]

    @property
    def left_out(self) -> int:
        """Rows that nobody is judged on."""
        return int(self.sums[LEFT_OUT]["left_out"][0])

    @cached_property
    def measures(self) -> dict[str, dict[str, float]]:
        """All measures by method."""
        return {key: measures(self.sums[key], self.seen) for key in self.keys}

    @cached_property
    def replicates(self) -> dict[str, dict[str, Array]]:
        """All replicates' measures by method."""
        return {key: replicated(self.sums[key], self.seen) for key in self.keys}

    def intervals(
        self, key: str, level: float = LEVEL, *, corrected: bool = False
    ) -> dict[str, Interval]:
        """Return the intervals of one method by measure; every rule of a gate asks for the same, so
        they are computed once."""
        asked = (key, level, corrected)
        if asked not in self._intervals:
            exclusive = self.kind == "exclusive"
            self._intervals[asked] = intervals(
                self.sums[key], self.seen, exclusive=exclusive, level=level, corrected=corrected
            )
        return self._intervals[asked]

    @cached_property
    def _intervals(self) -> dict[tuple[str, float, bool], dict[str, Interval]]:
        return {}

    @property
    def pairs(self) -> MetricSums | None:
        """Sums over pairs of methods."""
        return self.sums.get(PAIRS)

    def flips(self, first: str, second: str) -> tuple[int, int] | None:
        """Return the rows that the first alone has right, and the second alone; None of values."""
        if self.pairs is None or "wins" not in self.pairs:
            return None
        if first not in self.paired or second not in self.paired:
            return None
        one = self.paired.index(first)
        other = self.paired.index(second)
        wins = self.pairs["wins"]
        return int(wins[one, other]), int(wins[other, one])

    @property
    def slices(self) -> Mapping[str, SliceSums]:
        """Sums by slice, by the name of the slicing."""
        return self.sums.get(SLICES, {})

    def slice_table(self, sums: SliceSums) -> SliceTable:
        """Return the sums of one slicing by method and measure."""
        methods = len(self.keys)
        wide = len(ROW_MEASURES[self.kind])
        blocks = sums.sums[:, 1:].reshape(len(sums.values), -1, methods, wide)
        return SliceTable(self, sums.sums[:, 0], blocks)


@dataclass(frozen=True)
class SliceTable:
    """Sums of one slicing: rows (V,), and blocks (V, 2 + references, M, Q)."""

    judged: JudgedSums
    rows: Array
    blocks: Array

    def mean_sums(self, line: int, key: str, measure: str) -> tuple[float, float]:
        """Return Σ x and Σ x² of one value, method and measure."""
        method = self.judged.keys.index(key)
        number = ROW_MEASURES[self.judged.kind].index(measure)
        cell = self.blocks[line, :, method, number]
        return float(cell[0]), float(cell[1])

    def difference_sums(
        self, line: int, key: str, reference: str, measure: str
    ) -> tuple[float, float]:
        """Return Σ d and Σ d² of the differences to a reference, row by row."""
        mine, _ = self.mean_sums(line, key, measure)
        its, _ = self.mean_sums(line, reference, measure)
        method = self.judged.keys.index(key)
        number = ROW_MEASURES[self.judged.kind].index(measure)
        block = 2 + self.judged.beside.index(reference)
        return mine - its, float(self.blocks[line, block, method, number])
