"""Rows on which the labeler's process dies: found by the journal of the processes that died, and
rejected, so that a labelling ends.

A batch on which a process died `_TRIES` times is asked about in `_PARTS` parts, each noted before,
and a part on which one died in as many again, down to single rows. So one row of a batch costs a
death for each factor of 16 in its length, where asking about row after row would cost thousands of
asks and halves many more deaths. A row at which `_TRIES` processes die is one of those that are
looked for; it is rejected, and a zero stands in its place in the batch, as for a row that cannot be
read. One death is not enough: nodes are taken away, and other processes use up memory. Where no row
dies alone and the batch goes on to die, or too many rows do, the whole batch is rejected. What is
raised is no death: it is told as ever, and the fragment's notes are forgotten.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.core.errors import LabelerError
from distill.core.source import user_errors
from distill.engine.journal import Journal, current_journal

_TRIES = 2  # deaths on one batch, beside the first, of which nothing is known
_PARTS = 16
# rows of a batch that are looked for, each at the cost of some processes
_MOST_ALONE = 8
_ELSEWHERE = "elsewhere"

Features = npt.NDArray[Any]


class DeadlyRows:
    """Of one fragment. What it does next is noted in a journal: `at` is the newest note, `deaths`
    the processes that died at each."""

    def __init__(self, journal: Journal, fragment: str, start: int = 0) -> None:
        """`start` is the fragment's first row within its shard. Raises LabelerError where processes
        die neither on a batch nor on a row."""
        self.journal = journal
        self.fragment = fragment
        self.start = start
        found = journal.read(fragment)
        entry = found or {}
        self.deaths: dict[str, int] = entry.get("deaths", {})
        died_at = entry.get("at")
        if died_at is not None:
            self.deaths[died_at] = self.deaths.get(died_at, 0) + 1
        self.rejected: list[str] = []  # in words, for the person at the terminal
        if self.deaths.get(_ELSEWHERE, 0) > _TRIES:
            journal.delete(fragment)
            raise LabelerError(
                f"the labeler's process died {self.deaths[_ELSEWHERE]} times while rows were read"
                " or labels written (out of memory?). Look into Ray's logs, or run with --local."
            )
        self.elsewhere()

    def elsewhere(self) -> None:
        """Note that no batch is in work."""
        self._note(_ELSEWHERE)

    def over(self) -> None:
        """Forget the fragment."""
        self.journal.delete(self.fragment)

    def find(self, features: Features, first_row: int, ask: Callable[[Features], Any]) -> list[int]:
        """Return the offsets of the rows of a batch on which the process dies, and note that the
        batch is asked about without them; `ask` takes some rows."""
        batch = f"{first_row}+{len(features)}"
        if self.deaths.get(batch, 0) < _TRIES:
            self._note(batch)
            return []
        search = self._search(range(len(features)), first_row, lambda part: ask(features[part]))
        found = list(itertools.islice(search, _MOST_ALONE + 1))
        rest = f"{batch} without"
        if self.deaths.get(rest, 0) > _TRIES:
            self.over()
            raise LabelerError(
                f"the labeler's process dies on rows {self.start + first_row} to"
                f" {self.start + first_row + len(features) - 1}, and on zeros in their place."
            )
        if len(found) > _MOST_ALONE or self.deaths.get(rest, 0) >= _TRIES:
            found = list(range(len(features)))
        self._note(rest)
        rows = [self.start + first_row + offset for offset in found]
        if len(found) == len(features) > 1:
            self.rejected.append(f"rows {rows[0]} to {rows[-1]}")
        else:
            self.rejected += [f"row {row}" for row in rows]
        return found

    def _search(self, rows: range, first_row: int, ask: Callable[[slice], Any]) -> Iterator[int]:
        """Yield the offsets among `rows` on which processes die alone."""
        size = math.ceil(len(rows) / _PARTS)
        for start in range(rows.start, rows.stop, size):
            part = range(start, min(start + size, rows.stop))
            name = f"{first_row + start}+{len(part)} alone"
            deaths = self.deaths.get(name, 0)
            if deaths and len(part) > 1:
                yield from self._search(part, first_row, ask)
            elif deaths >= _TRIES:
                yield start
            else:
                self._note(name)
                try:
                    ask(slice(part.start, part.stop))
                except user_errors():
                    pass  # no death; the batch will raise it

    def _note(self, at: str) -> None:
        self.journal.write(self.fragment, {"at": at, "deaths": self.deaths})


@contextmanager
def deadly_rows(fragment: str, start: int) -> Iterator[DeadlyRows | None]:
    """Give what finds them in a fragment that begins at row `start` of its shard; None where no
    process died. The fragment is forgotten at the end, however it ends, unless the process dies.
    Raises LabelerError."""
    journal = current_journal()
    if journal is None:
        yield None
        return
    deadly = DeadlyRows(journal, fragment, start)
    try:
        yield deadly
    finally:
        deadly.over()


def without_rows(features: Features, offsets: list[int]) -> Features:
    """Return a batch in which nothing stands in place of rows that cannot be read."""
    if not offsets:
        return features
    rest = features.copy()
    rest[offsets] = "" if rest.dtype.kind in "OU" else np.zeros((), rest.dtype)
    return rest
