"""A labeler on its device, given batch after batch: the loop that labelling and calibration share.

The device is never held while waiting for rows: a fragment's next batches are read and prepared
ahead, in a thread, while one of its batches is on the device, and two fragments may be in work at
once, one encoding or writing while the other has the device. Batches are cut from a chunk's start
at a fixed size, bad rows included (as zeros), so that the same rows always meet in the same batch.
Of a labeler that takes little more for a batch than locks, clocks and threads do, several batches go
through these together, as a run of some megabytes of answers at most; it is asked about each by
itself all the same.

Without `threads` nothing runs ahead: the calling thread reads, prepares, labels and
finishes one batch after the other, so that a debugger stops in the user's own code. The predictions
are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from time import perf_counter
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa

from distill.core.errors import LabelerError
from distill.core.source import user_errors
from distill.labelers.base import (
    Inputs,
    Labeler,
    Matrix,
    Predictions,
    checked_predictions,
    finish_batch,
    has_finish,
    prepare_batch,
    raw_predict,
)
from distill.labelers.recipe import Recipe
from distill.labelers.registry import build_together, on_one_thread
from distill.labels.contract import Contract
from distill.loader.views import Views
from distill.stages.label.busy_clock import BusyClock
from distill.stages.label.deadly_rows import DeadlyRows, without_rows
from distill.stages.label.failures import RowFailure, error_text, locate_failure
from distill.stages.label.prefetch import prefetch
from distill.stages.label.priority_lock import PriorityLock
from distill.stages.label.repeated import STRICT_REFUSES, Again, ask_again
from distill.stages.label.row_reader import RowChunk

Once = Callable[[], AbstractContextManager[None]]
_PREFETCH_RUNS = 2  # runs of a fragment that wait prepared
# a run of several batches takes no longer: so long another fragment waits for the device
_RUN_SECONDS = 0.05
# which are so many at least, of 1 ms each: where one takes longer, locks are not what it costs, and
# another fragment may be on the device while it is finished
_LEAST_BATCHES = 50
_RUN_BYTES = 4 << 20  # of answers, which are held together
_RECENT_RUNS = 4  # what the fastest of them took is the labeler's; more is the machine's load
DIED = ("died", "the labeler's process died on it, again and again")  # why such a row is rejected


@dataclass
class InferenceBatch:
    """One batch on its way to the device."""

    chunk: RowChunk
    rows: slice  # its rows within the chunk
    first_row: int  # its first row within the fragment
    features: Inputs
    prepared: Any  # the features as `labeler.prepare` returned them
    again: Again | None = None  # what the labeler is asked a second time
    # the same rows altered, each view a batch that the labeler is asked about too
    views: tuple[InferenceBatch, ...] = ()
    # what label sets of other answers of the same network are given
    companions: tuple[Predictions, ...] = ()
    view_outputs: tuple[Matrix, ...] = ()  # what it said of them, (B, width) each
    seconds: float = 0.0  # that it, or the run that it is the first of, took the labeler

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add what the block takes."""
        began = perf_counter()
        yield
        self.seconds += perf_counter() - began

    @property
    def rejected(self) -> dict[int, tuple[str, str]]:
        """Rows of the batch that could not be read: offset within it → reason code, message."""
        start = self.rows.start
        in_chunk = self.chunk.rows.rejected
        if not in_chunk:  # the usual case, without a look at each row
            return {}
        rows = range(start, self.rows.stop)
        return {row - start: in_chunk[row] for row in rows if row in in_chunk}

    @property
    def keys(self) -> pa.Table:
        """The pass-through keys of the batch."""
        return self.chunk.keys.slice(self.rows.start, len(self.features))

    @property
    def target(self) -> pa.ChunkedArray:
        """The target of the batch, which the request must have named."""
        assert self.chunk.target is not None
        return self.chunk.target.slice(self.rows.start, len(self.features))


Run = list[InferenceBatch]  # consecutive batches of a chunk
Predicted = list[tuple[InferenceBatch, Predictions]]


@dataclass(frozen=True)
class _Fragment:
    """What the batches of a fragment share."""

    age: int
    deadly: DeadlyRows | None
    ask_again: int
    first_row: int  # of those that are asked about
    alone: bool  # each batch is a run


class Companion(Protocol):
    """A label set that is written along, of another answer of the same network."""

    @property
    def recipe(self) -> Recipe:
        """How its labeler is built, where there is no other to build it on."""

    @property
    def contract(self) -> Contract:
        """What its labels mean."""


class InferenceLoop:
    """Built once an actor; used by several threads, a fragment each.

    The three locks keep the labeler's `prepare`, `label` and `finish` to one thread each; a younger
    fragment waits for an older one."""

    def __init__(
        self,
        recipe: Recipe,
        contract: Contract,
        device: str,
        *,
        threads: bool,
        repeat: Literal["told", "refused"] = "told",
        once: Once = nullcontext,
        companions: Sequence[Companion] = (),
    ) -> None:
        self.contract = contract
        self._views = Views.of_contract(contract)
        self._once = once  # around what is done once a worker, and costs no other fragment anything
        # what becomes of a labeler that answers differently when it is asked twice
        self._repeat = repeat
        self._notes: list[str] = []
        # why there is no labeler, in the user's own lines. It is told with each fragment, so that
        # the failure policy decides.
        self.build_error = ""
        self._threads = threads
        self._prefetch_runs = _PREFETCH_RUNS if threads else 0
        widths = [each.contract.width for each in companions]
        numbers = (contract.width + sum(widths)) * (1 + contract.views)
        self._most_batches = _RUN_BYTES // (4 * numbers * contract.batch_rows)
        self._run_batches = 1
        self._row_seconds: tuple[float, ...] = ()  # of each recent run
        self._ages = count()
        self._preparing = PriorityLock()
        self._device = PriorityLock()
        self._finishing = PriorityLock()
        self.busy = BusyClock()
        try:
            others = [each.recipe for each in companions]
            tell = self._notes.append
            self.labeler, *labelers = build_together(recipe, others, device, tell=tell)
            self.companions = list(zip(labelers, widths, strict=True))
        except user_errors() as error:  # the user's own
            self.build_error = error_text(error)
        # after the labeler, whose making may be what loads torch
        on_one_thread()

    def predict(
        self,
        chunks: Iterator[RowChunk],
        deadly: DeadlyRows | None = None,
        ask_again: int = 0,
        *,
        first_row: int = 0,
        one_by_one: bool = False,
    ) -> Generator[Predicted, None, None]:
        """Yield the batches of a fragment with their predictions, in order, run by run, from
        `first_row` on, with which the chunks begin; `one_by_one` makes each batch a run.

        With `deadly` nothing runs ahead, and rows on which a process dies are found and rejected.
        Of the first batch some `ask_again` rows are asked about a second time. Raises RowFailure
        where the labeler raises. Close it where it is not taken to its end."""
        alone = one_by_one or deadly is not None
        fragment = _Fragment(next(self._ages), deadly, ask_again, first_row, alone)
        ahead = 0 if deadly else self._prefetch_runs
        prepared_runs = prefetch(self._runs(chunks, fragment), ahead)
        with closing(prepared_runs) as runs:
            for run in runs:
                predicted = self._infer(run, fragment.age)
                if deadly:
                    deadly.elsewhere()
                yield predicted

    def take_notes(self) -> tuple[str, ...]:
        """Return what was found since the last call that a person should know of the labeler."""
        notes = tuple(self._notes)
        del self._notes[: len(notes)]  # another thread may add one meanwhile
        return notes

    def _runs(self, chunks: Iterator[RowChunk], fragment: _Fragment) -> Iterator[Run]:
        batch_rows = self.contract.batch_rows
        first_row = fragment.first_row
        for chunk in chunks:
            rows = len(chunk.rows.values)
            start = 0
            while start < rows:
                # what is asked about twice is a batch by itself
                alone = fragment.alone or (fragment.ask_again and first_row + start == 0)
                batches = 1 if alone else self._run_batches
                stop = min(start + batches * batch_rows, rows)
                run = self._prepare(chunk, range(start, stop), first_row, fragment)
                start = run[-1].rows.stop
                yield run
            first_row += rows

    def _prepare(
        self, chunk: RowChunk, rows: range, chunk_first_row: int, fragment: _Fragment
    ) -> Run:
        """Some batches, prepared ahead where that is in another thread; fewer where one cannot be:
        what it raises is raised when those before it are labelled."""
        run = []
        for start in rows[:: self.contract.batch_rows]:
            stop = min(start + self.contract.batch_rows, rows.stop)
            run.append(self._batch(chunk, slice(start, stop), chunk_first_row + start, fragment))
        if not self._threads:
            return run
        prepared = 0
        try:
            with self._preparing.hold(fragment.age), run[0].timed():
                for batch in run:
                    for seen in (batch, *batch.views):
                        seen.prepared = prepare_batch(self.labeler, seen.features)
                    prepared += 1
        except user_errors() as error:
            if not prepared:
                raise self._row_failure(error, seen, fragment.age) from error
        return run[:prepared]

    def _batch(
        self, chunk: RowChunk, rows: slice, first_row: int, fragment: _Fragment
    ) -> InferenceBatch:
        features: Inputs = chunk.rows.values[rows]
        deadly = fragment.deadly
        if deadly:
            found = deadly.find(features, first_row, partial(raw_predict, self.labeler))
            features = without_rows(features, found)
            for offset in found:
                chunk.rows.rejected[rows.start + offset] = DIED
        batch = InferenceBatch(chunk, rows, first_row, features, None)
        if fragment.ask_again and first_row == 0:
            batch.again = Again.of(features, batch.rejected, fragment.ask_again)
        if self._views is not None:
            batch.views = tuple(self._view(batch, self._views, n) for n in self._views.numbers)
        return batch

    def _view(self, batch: InferenceBatch, views: Views, view: int) -> InferenceBatch:
        """The batch as one view has it."""
        # bad rows are zeros there too, altered or not
        chunk = batch.chunk
        start = batch.rows.start
        first = chunk.start + start
        rows = np.arange(first, first + len(batch.features))
        shards = np.full_like(rows, chunk.shard)
        # checks refuse views of anything but images
        images = batch.features.astype(np.uint8, copy=False)
        features = views.alter(images, view, shards, rows)
        return replace(batch, features=features, prepared=None, again=None)

    def _infer(self, run: Run, age: int) -> Predicted:
        predicted = self._infer_once(run, age)
        for batch in run:
            views = [self._infer_once([view], age)[0] for view in batch.views]
            batch.view_outputs = tuple(each.outputs for each in views)
        self._run_batches = self._fitting_batches(run)
        first = run[0]
        if first.again is not None:
            with self._once():
                self._infer_again(first, first.again, predicted[0], age)
        return list(zip(run, predicted, strict=True))

    def _fitting_batches(self, run: Run) -> int:
        """Return how many batches the next runs have, by what this one and those before took."""
        seconds = sum(seen.seconds for batch in run for seen in (batch, *batch.views))
        rows = run[-1].rows.stop - run[0].rows.start
        recent = (seconds / rows, *self._row_seconds)[:_RECENT_RUNS]
        self._row_seconds = recent
        fitting = int(_RUN_SECONDS / (min(recent) * self.contract.batch_rows))
        if fitting < _LEAST_BATCHES:
            return 1
        return max(1, min(fitting, self._most_batches))

    def _infer_again(
        self, batch: InferenceBatch, again: Again, first: Predictions, age: int
    ) -> None:
        """Ask about rows of a batch a second time, and tell or refuse a labeler that answers
        differently. Raises RowFailure."""
        try:
            with self._preparing.hold(age), self._device.hold(age), self._finishing.hold(age):
                problem = ask_again(self.labeler, again, first.outputs, self.contract)
            if problem and self._repeat == "refused":
                raise LabelerError(problem + STRICT_REFUSES)
        except user_errors() as error:
            raise RowFailure(batch.first_row, error) from error
        if problem:
            self._notes.append(problem)

    def _infer_once(self, batches: Sequence[InferenceBatch], age: int) -> list[Predictions]:
        predicted = []
        batch = batches[0]
        try:
            if self._threads and len(batches) > 1:
                with self._device.hold(age), self._finishing.hold(age), self._working(batch):
                    for batch in batches:
                        output = finish_batch(self.labeler, self._label(batch))
                        predicted.append(self._checked(output, batch))
                return predicted
            for batch in batches:
                if not self._threads:
                    with batch.timed():
                        batch.prepared = prepare_batch(self.labeler, batch.features)
                predicted.append(self._infer_beside_others(batch, age))
            return predicted
        except user_errors() as error:
            raise self._row_failure(error, batch, age) from error

    @contextmanager
    def _working(self, batch: InferenceBatch) -> Iterator[None]:
        with self.busy.running(), batch.timed():
            yield

    def _infer_beside_others(self, batch: InferenceBatch, age: int) -> Predictions:
        with self._device.hold(age), self._working(batch):
            output = self._label(batch)
            if not has_finish(self.labeler):
                return self._checked(output, batch)
        # the device is another fragment's meanwhile
        with self._finishing.hold(age), self._working(batch):
            output = finish_batch(self.labeler, output)
            return self._checked(output, batch)

    def _label(self, batch: InferenceBatch) -> Any:
        output = self.labeler.label(batch.prepared)
        # before the device is another batch's, since the pass that was made is this one's
        batch.companions = self._ask_companions(batch)
        return output

    def _ask_companions(self, batch: InferenceBatch) -> tuple[Predictions, ...]:
        rows = len(batch.features)
        found = []
        for labeler, width in self.companions:
            answer = finish_batch(labeler, labeler.label(batch.prepared))
            found.append(_checked_copy(labeler, answer, rows, width))
        return tuple(found)

    def _checked(self, output: Any, batch: InferenceBatch) -> Predictions:
        return _checked_copy(self.labeler, output, len(batch.features), self.contract.width)

    def _row_failure(self, error: BaseException, batch: InferenceBatch, age: int) -> RowFailure:
        # it prepares and labels rows one by one, so it needs both to itself
        with self._preparing.hold(age), self._device.hold(age):
            return locate_failure(error, self.labeler, batch.features, batch.first_row)


def _checked_copy(labeler: Labeler, output: Any, rows: int, width: int) -> Predictions:
    """Return predictions in arrays of their own, made while the lock is held."""
    # the labeler may write its next answer into the same arrays
    outputs, disagreement = checked_predictions(labeler, output, rows, width)
    known = None if disagreement is None else np.array(disagreement)
    return Predictions(outputs.copy(), known)


def joined(predicted: Predicted) -> tuple[InferenceBatch, Predictions]:
    """Return the batches of a run as one, and what was predicted of it."""
    if len(predicted) == 1:
        return predicted[0]
    batches = [batch for batch, _ in predicted]
    first = batches[0]
    rows = slice(first.rows.start, batches[-1].rows.stop)
    whole = replace(
        first,
        rows=rows,
        features=first.chunk.rows.values[rows],
        prepared=None,
        companions=tuple(map(_joined, zip(*(each.companions for each in batches), strict=True))),
        view_outputs=tuple(
            map(np.concatenate, zip(*(each.view_outputs for each in batches), strict=True))
        ),
    )
    return whole, _joined([predictions for _, predictions in predicted])


def _joined(parts: Sequence[Predictions]) -> Predictions:
    outputs = np.concatenate([each.outputs for each in parts])
    known = [each.disagreement for each in parts if each.disagreement is not None]
    # of some batches alone it would stand beside other rows
    return Predictions(outputs, np.concatenate(known) if len(known) == len(parts) else None)
