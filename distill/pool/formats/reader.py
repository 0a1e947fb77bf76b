"""Rows of one shard from a place on, as many at a time as are asked for. Memory holds those, and what the format decodes at once: a part of a
Parquet row group, a record batch of an Arrow file, a whole file of a format without an index.

(A whole Parquet row group of 4,096 raw images of 224×224, at once: 13 s and 10 GB within pyarrow; 256 at a time: 2.5 s and 1.2 GB, of which the
file's own pages are most.) A reader that is left within a row group goes on there, so the fragments of a large one decode it once, in their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pyarrow as pa

from distill.pool.formats.base import Rejected, Streamed, Taken
from distill.pool.formats.opening import no_rows, opened, plain, reading
from distill.pool.listed import require_listed
from distill.storage import Storage


class RowReader:
    """One open shard, and the row at which it stands. Raises PoolError where it cannot be opened, or has no such rows."""

    def __init__(
        self, files: Storage, key: str, rows: range, columns: Sequence[str], *, format: str, part_rows: int
    ) -> None:
        self.columns = list(dict.fromkeys(columns))
        self._files, self._key = files, key
        self._closing = ExitStack()
        with ExitStack() as trouble:
            trouble.callback(self.close)
            shard = self._closing.enter_context(opened(files, key, format))
            with reading(files.url(key), rows):
                streamed = shard.stream(rows, self.columns, part_rows)
            if rows and not (streamed.rows.start <= rows.start and rows.stop <= streamed.rows.stop):
                raise no_rows(files.url(key), rows)
            trouble.pop_all()
        self._parts, self._left = _parts(streamed), Taken(pa.table({}))
        self.at, self.end = streamed.rows.start, streamed.rows.stop

    def stands_before(self, files: Storage, key: str, rows: range, columns: Sequence[str]) -> bool:
        """Whether `rows` of that shard can be taken from here on."""
        same = (self._files.uri, self._key, self.columns) == (files.uri, key, list(dict.fromkeys(columns)))
        return same and self.at <= rows.start and rows.stop <= self.end

    def take(self, rows: range, listed: str | None = None) -> Taken:
        """`rows`, which are not behind it. With `listed`, the shard's id in the inventory, a file that changed meanwhile is refused. Raises PoolError."""
        with reading(self._files.url(self._key), rows):
            self._skip(rows)
            parts = list(self._next(rows))
        if listed is not None:
            require_listed(self._files, self._key, listed)
        return plain(_joined(parts), self.columns)

    def close(self) -> None:
        """Close the file."""
        self._closing.close()

    def _skip(self, rows: range) -> None:
        for _ in self._next(range(self.at, rows.start)):
            pass

    def _next(self, rows: range) -> Iterator[Taken]:
        """The next `rows`, in parts as they were decoded. Raises PoolError where there are fewer."""
        while self.at < rows.stop:
            if not len(self._left.table):
                self._left = next(self._parts, self._left)
            part = self._left.cut(0, rows.stop - self.at)
            if not len(part.table):
                raise no_rows(self._files.url(self._key), rows)
            self._left = self._left.cut(len(part.table), len(self._left.table))
            self.at += len(part.table)
            yield part


def _parts(streamed: Streamed) -> Iterator[Taken]:
    return (part for part in streamed.parts if len(part.table))


def _joined(parts: Sequence[Taken]) -> Taken:
    rejected: Rejected = {}
    first = 0
    for part in parts:
        rejected |= {first + row: said for row, said in part.rejected.items()}
        first += len(part.table)
    return Taken(pa.concat_tables([part.table for part in parts]), rejected)
