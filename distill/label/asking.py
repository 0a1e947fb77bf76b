"""A labeler on its device, asked batch by batch: the loop that labelling and calibration share.

Two fragments may be in work at once, one reading, preparing, encoding or writing while a batch of the other is on the device, which is
never held while waiting for rows. Batches are cut from a piece's start at a fixed size, bad rows included (as zeros), so that the same rows
always meet in the same batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock

from distill.label.blame import blame, told_of
from distill.labelers import Answers, Recipe, build_labeler, checked_answer, prepared
from distill.labelers.base import Seen
from distill.labelers.build import on_one_thread
from distill.labels import Contract
from distill.pool import Rows


class Asker:
    """Built once an actor; asked by two threads."""

    def __init__(self, recipe: Recipe, contract: Contract, device: str) -> None:
        self.contract = contract
        self.unbuilt = ""
        """Why there is no labeler, in its own lines: told with each fragment, so that the failure policy decides."""
        self._preparing, self._device_free = Lock(), Lock()
        try:
            self.labeler = build_labeler(recipe, device)
        except Exception as error:  # noqa: BLE001  the user's own
            self.unbuilt = told_of(error)
        on_one_thread()

    def answers(self, rows: Rows, first: int) -> Iterator[tuple[slice, Answers]]:
        """Each batch of a piece, and what is said of it; the piece's first row is the fragment's row `first`. Raises Blame."""
        # what came by Ray's object store cannot be written to, and a labeler may
        values: Seen = rows.values if rows.values.flags.writeable else rows.values.copy()
        for start in range(0, len(values), self.contract.batch_rows):
            batch = slice(start, min(start + self.contract.batch_rows, len(values)))
            yield batch, self._ask(values[batch], first + start)

    def _ask(self, batch: Seen, first: int) -> Answers:
        """One batch's answers, prepared while another fragment's batch is on the device."""
        try:
            with self._preparing:
                given = prepared(self.labeler, batch)
            with self._device_free:
                said = checked_answer(self.labeler.label(given), len(batch), self.contract.width)
                # a copy: the labeler may write its next answer into the same array
                return said._replace(outputs=said.outputs.copy())
        except Exception as error:
            with self._preparing, self._device_free:
                raise blame(error, self.labeler, batch, first) from error
