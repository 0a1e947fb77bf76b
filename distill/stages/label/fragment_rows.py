"""The labels of one fragment while they come in, batch after batch, in the order of its rows.

Rows of a selection are few and dear: a hosted model takes money for each. What was said of them is
written ahead, as an attempt at these rows (`labels.written`), before the labeler is asked about the
next ones: at most once a second, since what a fast labeler said is had again for less than it costs
to store; when a hundredth more are said, so that objects are few however long it takes; and at the
end, also where that is an error. A run that follows takes those rows as they are and asks about the
rest alone; only what was on its way from the labeler is lost, or was said since.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import monotonic

import pyarrow as pa

from distill.core.errors import DistillError
from distill.core.failpoints import reach
from distill.labels.commit import Attempt
from distill.pools.formats.base import Rejected

_AHEAD_SECONDS = 1.0
_AHEAD_SHARE = 0.01

log = logging.getLogger(__name__)

WriteRows = Callable[[range, pa.Table, Rejected], Attempt]


class FragmentRows:
    """Of one label set. As a context it ends by writing what is left to write ahead."""

    def __init__(
        self,
        tables: Sequence[pa.Table] = (),
        rejected: Rejected | None = None,
        write: WriteRows | None = None,
    ) -> None:
        """Begin with rows that are written. `write` writes those of a range within the fragment
        ahead; without, none are."""
        self._tables = list(tables)
        self._rejected = dict(rejected or {})
        self.write = write
        self.count = sum(map(len, tables))
        self.attempt: Attempt | None = None
        """What was written ahead, where that was done at once."""
        self._ahead = (len(self._tables), self.count)  # tables and rows that are written
        self._written_at = monotonic()

    def add(self, labels: pa.Table, rejected: Rejected) -> None:
        """Take the next rows, and which of them, counted from the first, have no label."""
        self._rejected |= {self.count + row: reason for row, reason in rejected.items()}
        self._tables.append(labels)
        self.count += len(labels)
        waited = monotonic() - self._written_at >= _AHEAD_SECONDS
        _, row = self._ahead
        if waited and self.count - row >= _AHEAD_SHARE * row:
            self.write_ahead()

    def __enter__(self) -> None:
        """Nothing is to be done."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.write_ahead()
        except DistillError as error:
            if kind is None:
                raise
            # what ended the fragment is what a person must know
            log.warning("answers are lost, since they could not be written ahead: %s", error)

    def write_ahead(self) -> None:
        """Write what is not written ahead. Where that fails, it is not tried again."""
        tables, row = self._ahead
        write = self.write
        if write is None or row == self.count:
            return
        self.write = None
        labels = pa.concat_tables(self._tables[tables:]).combine_chunks()
        rejected = {at: reason for at, reason in self._rejected.items() if at >= row}
        attempt = write(range(row, self.count), labels, rejected)
        self.write = write
        self.attempt = None if row else attempt
        self._ahead = (len(self._tables), self.count)
        self._written_at = monotonic()
        reach("label.after_ahead")

    def whole(self) -> tuple[pa.Table, Rejected]:
        """Return all rows, and which have no label."""
        return pa.concat_tables(self._tables).combine_chunks(), self._rejected
