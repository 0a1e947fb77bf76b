"""Rows of one shard from a row on, as many at a time as are asked for. Memory holds those, and
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
from distill.pools.formats.open import errors_of_reading, missing_rows, open_shard, plain_columns
from distill.pools.shard_id import require_listed
from distill.storage.base import Storage


class RowReader:
    """One open shard, and the row `at` which it stands, of all before `end` that it can give.

    Raises PoolError where it cannot be opened, has no such rows, or is not the one that was
    `listed`. Whatever goes wrong closes it, and a closed one stands before nothing."""

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
        distinct = dict.fromkeys(columns)
        self._columns = list(distinct)
        self._source = (files.uri, key, listed, self._columns)
        self._files = files
        self._key = key
        self._listed = listed
        self._format = format
        self._closing = ExitStack()
        self._is_open = False
        self._parts: Iterator[RowBatch]
        self._rest: RowBatch | None  # what of the last part was not taken yet
        self._forget()
        with self._closed_on_error(rows):
            shard = self._closing.enter_context(open_shard(files, key, format))
            self._is_open = True
            streamed = shard.stream(rows, self._columns, part_rows)
            self._parts = (part for part in streamed.parts if len(part.table))
            self.at = streamed.rows.start
            self.end = streamed.rows.stop
            if rows and not self._can_give(rows):
                raise missing_rows(files.url(key), rows)
            self._require_listed()

    def stands_before(
        self, files: Storage, key: str, rows: range, columns: Sequence[str], listed: str | None
    ) -> bool:
        """Whether `rows` of that shard can be taken from here on."""
        source = (files.uri, key, listed, list(dict.fromkeys(columns)))
        return self._source == source and self._can_give(rows)

    def take(self, rows: range, *, last: bool = False) -> RowBatch:
        """Take `rows`, which are not behind it.

        After the `last` ones a file that changed meanwhile is refused. Raises PoolError."""
        with self._closed_on_error(rows):
            for _ in self._next(range(self.at, rows.start)):
                pass  # decoded on the way to `rows`
            found = self._next(rows)
            parts = list(found)
            batch = plain_columns(_joined(parts), self._columns, self._format)
            if last:
                self._require_listed()
        return batch

    def close(self) -> None:
        """Close the file, and let go of what was read."""
        self._closing.close()
        self._forget()

    def _forget(self) -> None:
        self._parts = iter(())
        self._rest = None
        self.at = 0
        self.end = -1  # less than `at`: nothing, not even no rows, can be taken

    def _can_give(self, rows: range) -> bool:
        return self.at <= rows.start and rows.stop <= self.end

    @contextmanager
    def _closed_on_error(self, rows: range) -> Iterator[None]:
        try:
            with errors_of_reading(self._files.url(self._key), rows):
                yield
        except BaseException as error:
            self.close()
            if self._is_open and isinstance(error, Exception):
                self._require_listed()  # that it changed explains everything else
            raise

    def _require_listed(self) -> None:
        if self._listed is not None:
            require_listed(self._files, self._key, self._listed)

    def _next(self, rows: range) -> Iterator[RowBatch]:
        """The next `rows`, in parts as they were decoded. Raises PoolError where there are fewer."""
        while self.at < rows.stop:
            part = self._rest or next(self._parts, None)
            if part is None:
                raise missing_rows(self._files.url(self._key), rows)
            taken = part.cut(0, rows.stop - self.at)
            count = len(taken.table)
            rest = part.cut(count, len(part.table) - count)
            self._rest = rest if len(rest.table) else None
            self.at += count
            yield taken


def _joined(parts: Sequence[RowBatch]) -> RowBatch:
    rejected: Rejected = {}
    first = 0
    for part in parts:
        rejected |= {first + row: reason for row, reason in part.rejected.items()}
        first += len(part.table)
    tables = [part.table for part in parts]
    # a selection's rows are of several files, which may differ where no type is pinned
    table = pa.concat_tables(tables, promote_options="permissive")
    return RowBatch(table, rejected)
