"""Rows of one shard from a place on, as many at a time as are asked for. Memory holds those, and
what the format decodes at once: a part of a Parquet row group, a record batch of an Arrow file, a
whole file of a format without an index.

(A whole Parquet row group of 4,096 raw images of 224×224, at once: 13 s and 10 GB within pyarrow;
256 at a time: 2.5 s and 1.2 GB, of which the file's own pages are most.) A reader that is left
within a row group goes on there, so the fragments of a large one decode it once, in their order. In
another order each begins at the group's start again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pyarrow as pa

from distill.pools.formats.base import Rejected, RowBatch
from distill.pools.formats.open import no_rows, opened, plain, reading
from distill.pools.shard_id import require_listed
from distill.storage.base import Storage


class RowReader:
    """One open shard, and the row at which it stands. Raises PoolError where it cannot be opened,
    has no such rows, or is not the one that was `listed`.

    Whatever goes wrong closes it, and a closed one stands before nothing.
    """

    def __init__(
        self,
        files: Storage,
        key: str,
        rows: range,
        columns: Sequence[str],
        *,
        format: str,
        part_rows: int,
        listed: str | None = None,
    ) -> None:
        self._columns = list(dict.fromkeys(columns))
        self._of = (files.uri, key, listed, self._columns)
        self._files, self._key, self._listed = files, key, listed
        self._closing = ExitStack()
        self._parts: Iterator[RowBatch] = iter(())
        self._left: RowBatch | None = None
        self.at, self.end, self._there = 0, -1, False
        with self._reading(rows):
            shard = self._closing.enter_context(opened(files, key, format))
            self._there = True
            streamed = shard.stream(rows, self._columns, part_rows)
            self._parts = (part for part in streamed.parts if len(part.table))
            self.at, self.end = streamed.rows.start, streamed.rows.stop
            if rows and not (self.at <= rows.start and rows.stop <= self.end):
                raise no_rows(files.url(key), rows)
            self._require_listed()

    def stands_before(
        self, files: Storage, key: str, rows: range, columns: Sequence[str], listed: str | None
    ) -> bool:
        """Whether `rows` of that shard can be taken from here on."""
        same = self._of == (files.uri, key, listed, list(dict.fromkeys(columns)))
        return same and self.at <= rows.start and rows.stop <= self.end

    def take(self, rows: range, *, last: bool = False) -> RowBatch:
        """`rows`, which are not behind it. After the `last` a file that changed meanwhile is
        refused. Raises PoolError."""
        with self._reading(rows):
            for _ in self._next(range(self.at, rows.start)):
                pass
            taken = plain(_joined(list(self._next(rows))), self._columns)
            if last:
                self._require_listed()
        return taken

    def close(self) -> None:
        """Close the file, and let go of what was read."""
        self._closing.close()
        self._parts, self._left, self.at, self.end = iter(()), None, 0, -1

    @contextmanager
    def _reading(self, rows: range) -> Iterator[None]:
        try:
            with reading(self._files.url(self._key), rows):
                yield
        except BaseException as error:
            there = self._there
            self.close()
            if there and isinstance(error, Exception):
                self._require_listed()  # that it changed explains everything else
            raise

    def _require_listed(self) -> None:
        if self._listed is not None:
            require_listed(self._files, self._key, self._listed)

    def _next(self, rows: range) -> Iterator[RowBatch]:
        """The next `rows`, in parts as they were decoded. Raises PoolError where there are fewer."""
        while self.at < rows.stop:
            left = self._left or next(self._parts, None)
            if left is None:
                raise no_rows(self._files.url(self._key), rows)
            part = left.cut(0, rows.stop - self.at)
            taken, rest = len(part.table), len(left.table) - len(part.table)
            self._left = left.cut(taken, rest) if rest else None
            self.at += taken
            yield part


def _joined(parts: Sequence[RowBatch]) -> RowBatch:
    rejected: Rejected = {}
    first = 0
    for part in parts:
        rejected |= {first + row: said for row, said in part.rejected.items()}
        first += len(part.table)
    return RowBatch(pa.concat_tables([part.table for part in parts]), rejected)
