"""A labeler on its device, asked batch by batch: the loop that labelling and calibration share.

The device is never held while waiting for rows: a fragment's next batches are read and prepared
ahead, in a thread, while one of its batches is on the device, and two fragments may be in work at
once, one encoding or writing while the other asks. Batches are cut from a piece's start at a fixed
size, bad rows included (as zeros), so that the same rows always meet in the same batch.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from typing import Any

import pyarrow as pa

from distill.labelers.base import (
    Inputs,
    Predictions,
    checked_predictions,
    finish_batch,
    has_finish,
    prepare_batch,
)
from distill.labelers.recipe import Recipe
from distill.labelers.registry import build_labeler, on_one_thread
from distill.labels.contract import Contract
from distill.stages.label.failures import RowFailure, blame, error_text
from distill.stages.label.prefetch import ahead
from distill.stages.label.priority_lock import PriorityLock
from distill.stages.label.row_reader import RowChunk

_AHEAD = 2
"""Batches of a fragment that wait prepared."""


@dataclass
class InferenceBatch:
    """One batch on its way to the device."""

    piece: RowChunk
    batch: slice
    """Its rows within the piece."""
    first: int
    """Its first row within the fragment."""
    seen: Inputs
    given: Any
    """What the labeler is given: as it prepared them."""

    @property
    def rejected(self) -> dict[int, tuple[str, str]]:
        """Rows of the batch that could not be read."""
        start, rows = self.batch.start, self.piece.rows.rejected
        return (
            {row - start: rows[row] for row in range(start, self.batch.stop) if row in rows}
            if rows
            else {}
        )

    @property
    def keys(self) -> pa.Table:
        """The pass-through keys of the batch."""
        return self.piece.keys.slice(self.batch.start, len(self.seen))

    @property
    def target(self) -> pa.ChunkedArray:
        """The target of the batch, which the request asked for."""
        assert self.piece.target is not None
        return self.piece.target.slice(self.batch.start, len(self.seen))


class InferenceLoop:
    """Built once an actor; asked by several threads."""

    def __init__(self, recipe: Recipe, contract: Contract, device: str) -> None:
        self.contract = contract
        self.unbuilt = ""
        """Why there is no labeler, in its own lines: told with each fragment, so that the failure
        policy decides."""
        self._numbers, self._preparing, self._device, self._finishing = (
            count(),
            PriorityLock(),
            PriorityLock(),
            PriorityLock(),
        )
        try:
            self.labeler = build_labeler(recipe, device)
        except Exception as error:  # noqa: BLE001  the user's own
            self.unbuilt = error_text(error)
        on_one_thread()

    def answers(
        self, pieces: Iterator[RowChunk]
    ) -> Generator[tuple[InferenceBatch, Predictions], None, None]:
        """Each batch of a fragment, and what is said of it. Raises Blame. Close it where it is not
        taken to its end."""
        number = next(self._numbers)
        with closing(ahead(self._questions(pieces, number), _AHEAD)) as questions:
            for question in questions:
                yield question, self._ask(question, number)

    def _questions(self, pieces: Iterator[RowChunk], number: int) -> Iterator[InferenceBatch]:
        first = 0
        for piece in pieces:
            values: Inputs = piece.rows.values
            for start in range(0, len(values), self.contract.batch_rows):
                batch = slice(start, min(start + self.contract.batch_rows, len(values)))
                yield self._question(piece, batch, first + start, values[batch], number)
            first += len(values)

    def _question(
        self, piece: RowChunk, batch: slice, first: int, seen: Inputs, number: int
    ) -> InferenceBatch:
        try:
            with self._preparing.turn(number):
                return InferenceBatch(piece, batch, first, seen, prepare_batch(self.labeler, seen))
        except Exception as error:
            raise self._blame(error, seen, first, number) from error

    def _ask(self, question: InferenceBatch, number: int) -> Predictions:
        try:
            with self._device.turn(number):
                answered = self.labeler.label(question.given)
                if not has_finish(self.labeler):
                    return self._kept(answered, question)
            with self._finishing.turn(number):
                return self._kept(finish_batch(self.labeler, answered), question)
        except Exception as error:
            raise self._blame(error, question.seen, question.first, number) from error

    def _kept(self, answered: Any, question: InferenceBatch) -> Predictions:
        """A copy: the labeler may write its next answer into the same array."""
        said = checked_predictions(self.labeler, answered, len(question.seen), self.contract.width)
        return said._replace(outputs=said.outputs.copy())

    def _blame(self, error: Exception, seen: Inputs, first: int, number: int) -> RowFailure:
        with self._preparing.turn(number), self._device.turn(number):
            return blame(error, self.labeler, seen, first)
