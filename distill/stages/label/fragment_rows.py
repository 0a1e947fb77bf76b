"""The labels of one fragment while they come in, batch after batch, in the order of its rows.

Rows of a selection are few and dear: a hosted model takes money for each. What was said of them is
written ahead, as an attempt at these rows (`labels.written`), before the labeler is asked about the
next ones: at most once a second, since what a fast labeler said is had again for less than it costs
to store, and at the end, also where that is an error. A run that follows takes those rows as they
are and asks about the rest alone; only what was on its way from the labeler is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

import pyarrow as pa

from distill.core.failpoints import reach
from distill.labels.commit import Attempt
from distill.pools.formats.base import Rejected

_AHEAD_SECONDS = 1.0

WriteRows = Callable[[range, pa.Table, Rejected], Attempt]


class FragmentRows:
    """Of one label set."""

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
        if monotonic() - self._written_at >= _AHEAD_SECONDS:
            self.close()

    def close(self) -> None:
        """Write what is not written ahead."""
        tables, row = self._ahead
        if self.write is None or row == self.count:
            return
        labels = pa.concat_tables(self._tables[tables:]).combine_chunks()
        rejected = {at: reason for at, reason in self._rejected.items() if at >= row}
        attempt = self.write(range(row, self.count), labels, rejected)
        self.attempt = None if row else attempt
        self._ahead = (len(self._tables), self.count)
        self._written_at = monotonic()
        reach("label.after_ahead")

    def whole(self) -> tuple[pa.Table, Rejected]:
        """Return all rows, and which have no label."""
        return pa.concat_tables(self._tables).combine_chunks(), self._rejected
