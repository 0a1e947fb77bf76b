"""The passes over a pool that find the rows that people should see, by the engine's fold.

Of each reason the worst rows are kept, as many as a review has rows; what is kept of some rows does
not depend on how they were cut into chunks. Memory: reasons × rows of two numbers.

    suspects      the given class is likely wrong (`confident_learning`)
    disagreement  label sets name different classes: their generalised Jensen–Shannon divergence
                  over the largest that so many can have, 0 to 1
    slices        of slices where students are weak, the rows of which the first label set is least
                  sure
    confidence    1 − the probability of the first label set's class
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.engine.protocol import Engine
from distill.labelers.label_probabilities import label_probabilities
from distill.loader.dataset import Arrays, Dataset, TargetColumn
from distill.loader.sampler import Chunk
from distill.plan.review import ReviewStep
from distill.stages.review.confident_learning import ClassSums, suspects
from distill.stages.slicings import ChunkRows, slice_values

TARGET = "target"
_CHUNK_ROWS = 8_192
_MOST_NUMBERS = 1 << 22  # probabilities of all label sets that a chunk holds

Array = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Worst:
    """Some rows by number, the worst first, with how bad each is and what of (a class, a slice)."""

    row: Numbers
    score: Array
    of: Numbers

    @classmethod
    def among(cls, row: Numbers, score: Array, of: Numbers, most: int) -> Worst:
        """Return the worst of some rows; those whose score is −∞ are none."""
        found = np.flatnonzero(score > -np.inf)
        # equals by their number, so that chunks do not decide
        order = found[np.lexsort((row[found], -score[found]))][:most]
        return cls(row[order], score[order], of[order])

    def joined(self, other: Worst, most: int) -> Worst:
        """Return the worst of both."""
        row = np.concatenate([self.row, other.row])
        score = np.concatenate([self.score, other.score])
        return Worst.among(row, score, np.concatenate([self.of, other.of]), most)


Found = Mapping[str, Worst]  # by reason


@dataclass(frozen=True)
class ReviewedRows:
    """A pool with what label sets and its own target say of it; what travels to the workers."""

    step: ReviewStep
    dataset: Dataset

    @classmethod
    def of(cls, step: ReviewStep) -> ReviewedRows:
        """Return the rows of a review."""
        pool = step.pool
        columns = {each.name: each.column for each in step.labels}
        every: dict[str, object] = dict(columns)
        if step.truth is not None:
            every[f" {TARGET}"] = TargetColumn(str(pool.spec.target), step.truth)
        return cls(step, Dataset((pool.inventory,), pool.seen_features, pool.width, every))  # type: ignore[arg-type]

    @property
    def chunks(self) -> list[Chunk]:
        """All rows, in pieces whose probabilities fit in memory."""
        numbers = len(self.step.labels) * max(1, len(self.step.classes))
        return self.dataset.chunks(max(64, min(_CHUNK_ROWS, _MOST_NUMBERS // numbers)))

    def probabilities(self, rows: Arrays) -> Array:
        """Return (L, B, C): what each label set says of all classes."""
        step = self.step
        said = []
        for each in step.labels:
            prefix = f"{each.name}."
            read = {
                name.removeprefix(prefix): values
                for name, values in rows.items()
                if name.startswith(prefix)
            }
            said.append(label_probabilities(read, each.outputs, step.classes))
        return np.stack(said)

    def usable(self, rows: Arrays) -> npt.NDArray[np.bool_]:
        """Return (B,): rows that all label sets labelled."""
        weights = [rows[f"{each.name}.weight"] for each in self.step.labels]
        usable: npt.NDArray[np.bool_] = np.all([weight > 0 for weight in weights], axis=0)  # type: ignore[operator]
        return usable

    def given(self, rows: Arrays) -> Numbers:
        """Return (B,): numbers of the classes that the pool itself gives, −1 where it gives none."""
        assert self.step.truth is not None
        positions = {name: number for number, name in enumerate(self.step.classes)}
        places = np.array([positions[name] for name in self.step.truth.classes])
        known = rows[f" {TARGET}.weight"] > 0  # type: ignore[operator]
        numbers = places[rows[f" {TARGET}.target"].astype(np.int64)]
        return np.where(known, numbers, -1)


@dataclass(frozen=True)
class CountGiven:
    """`count(chunk)` → how sure the first label set is of the given classes."""

    reviewed: ReviewedRows

    def __call__(self, chunk: Chunk) -> ClassSums:
        rows = self.reviewed.dataset.load(chunk)
        given = self.reviewed.given(rows)
        known = np.flatnonzero(self.reviewed.usable(rows) & (given >= 0))
        probabilities = self.reviewed.probabilities(rows)[0]
        return ClassSums.of(probabilities[known], given[known])


@dataclass(frozen=True)
class FindRows:
    """`find(chunk)` → the worst rows of a chunk by each reason."""

    reviewed: ReviewedRows
    thresholds: Array | None

    def __call__(self, chunk: Chunk) -> Found:
        rows = self.reviewed.dataset.load(chunk)
        usable = np.flatnonzero(self.reviewed.usable(rows))
        said = self.reviewed.probabilities(rows)[:, usable]
        number = rows["row"].astype(np.int64)[usable]
        step = self.reviewed.step
        found = {}
        for reason in step.reasons:
            score, of = self._scores(reason, chunk, rows, usable, said)
            found[reason] = Worst.among(number, score, of, step.rows)
        return found

    def _scores(
        self, reason: str, chunk: Chunk, rows: Arrays, usable: Numbers, said: Array
    ) -> tuple[Array, Numbers]:
        if reason == "suspects":
            assert self.thresholds is not None
            given = self.reviewed.given(rows)[usable]
            of, score = suspects(said[0], np.maximum(given, 0), self.thresholds)
            return np.where(given >= 0, score, -np.inf), of
        if reason == "disagreement":
            return disagreement(said), np.zeros(len(usable), np.int64)
        unsure = 1 - said[0].max(axis=1)
        if reason == "confidence":
            return unsure, np.zeros(len(usable), np.int64)
        return self._in_slices(chunk, rows, usable, said[0], unsure)

    def _in_slices(
        self, chunk: Chunk, rows: Arrays, usable: Numbers, first: Array, unsure: Array
    ) -> tuple[Array, Numbers]:
        # the worst slice that a row lies in decides, and within one who is least sure
        step = self.reviewed.step
        judged = np.zeros(chunk.rows, np.bool_)
        judged[usable] = True
        score = np.full(len(usable), -np.inf)
        of = np.zeros(len(usable), np.int64)
        outputs = step.truth or step.labels[0].outputs
        truth = rows.get(f" {TARGET}.target", np.zeros(chunk.rows, np.int64))[usable]
        seen = ChunkRows(
            chunk=chunk,
            inventory=step.pool.inventory,
            judged=judged,
            features=rows["features"][usable],
            truth=truth,
            outputs=outputs,
            teacher=first,
        )
        for place, weak in enumerate(step.slices):
            is_in = slice_values(weak.slicing, seen) == weak.value
            if weak.slicing.name == "class":
                is_in &= rows[f" {TARGET}.weight"][usable] > 0  # type: ignore[operator]
            # they come by the worst slice, so a row stays with the first that it lies in
            taken = is_in & (score == -np.inf)
            score[taken] = len(step.slices) - place + unsure[taken]
            of[taken] = place
        return score, of

    def merge(self, one: Found, other: Found) -> Found:
        """Return the worst of both."""
        most = self.reviewed.step.rows
        return {reason: one[reason].joined(other[reason], most) for reason in one}


def disagreement(said: Array) -> Array:
    """Return (B,) of probabilities (L, B, C): H(mean) − mean H over log L, of rows on which not all
    name the same class; −∞ of others."""
    chosen = said.argmax(axis=2)
    differ = (chosen != chosen[0]).any(axis=0)
    apart = _entropy(said.mean(axis=0)) - _entropy(said).mean(axis=0)
    scaled = np.maximum(apart, 0.0) / np.log(len(said)) if len(said) > 1 else apart
    return np.where(differ, scaled, -np.inf)


def _entropy(probabilities: Array) -> Array:
    entropy: Array = -(probabilities * np.log(np.maximum(probabilities, 1e-300))).sum(axis=-1)
    return entropy


def find_rows(reviewed: ReviewedRows, engine: Engine) -> tuple[Found, Array | None]:
    """Return the worst rows by each reason, and the thresholds of suspects. Raises PoolError,
    ContractError, StorageError."""
    chunks = reviewed.chunks
    size: Callable[[Chunk], int] = lambda chunk: chunk.rows  # noqa: E731  of two calls
    thresholds = None
    if "suspects" in reviewed.step.reasons:
        counting = CountGiven(reviewed)
        counted = engine.fold(
            "review: thresholds", counting, chunks, ClassSums.__add__, unit="rows", size=size
        )
        thresholds = counted.thresholds
    find = FindRows(reviewed, thresholds)
    found = engine.fold("review", find, chunks, find.merge, unit="rows", size=size)
    return found, thresholds


def chosen_rows(found: Found, most: int) -> dict[int, list[str]]:
    """Return which rows are shown and for which reasons: of each reason in turn the next worst row,
    until there are so many."""
    queues = {reason: worst.row.tolist() for reason, worst in found.items()}
    longest = max((len(queue) for queue in queues.values()), default=0)
    chosen: dict[int, list[str]] = {}
    for place in range(longest):
        for queue in queues.values():
            if place < len(queue) and len(chosen) < most:
                chosen.setdefault(queue[place], [])
    for reason, queue in queues.items():
        for row in queue:
            if row in chosen:
                chosen[row].append(reason)
    return chosen
