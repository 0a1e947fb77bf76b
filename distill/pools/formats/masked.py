"""A shard whose private columns leave it masked, or not at all: the one place where that is done.

Whatever opens a pool's file does so by `open_shard`, which gives a `MaskedShard` where the pool has
private columns. What comes out of it, rows and errors alike, holds nothing of them:

- columns that are dropped are not in its schema, and asking for one is an error;
- others are what their rules make of them (`formats.masking`);
- what a format says of a damaged row or file may quote it, so it is replaced by words of our own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import pyarrow as pa

from distill.core.errors import PoolError
from distill.pools.formats.base import Rejected, RowBatch, check_columns
from distill.pools.formats.masking import Rules, masked_column, masked_schema
from distill.pools.formats.shard_file import Footer, ShardFile, Streamed
from distill.spec.privacy import Drop

_NOT_QUOTED = "the pool has private columns, so what stands there is not quoted"


class MaskedShard(ShardFile):
    """Another shard, seen under a pool's rules; messages call its format `format_title`."""

    def __init__(self, shard: ShardFile, where: str, format_title: str, rules: Rules) -> None:
        self._shard = shard
        self._where = where
        self._format_title = format_title
        self._rules = rules

    @cached_property
    def _footer(self) -> Footer:
        with self._without_quotes():
            own = self._shard.footer()
        schema = masked_schema(own.schema, self._rules)
        return Footer(own.row_groups, schema, own.path_columns)

    def footer(self) -> Footer:
        return self._footer

    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        self._check(columns)
        with self._without_quotes(columns):
            batch = self._shard.read(rows, columns)
        return self._masked(batch)

    def stream(self, rows: range, columns: Sequence[str], part_rows: int) -> Streamed:
        self._check(columns)
        with self._without_quotes(columns):
            streamed = self._shard.stream(rows, columns, part_rows)
        return Streamed(streamed.rows, self._masked_parts(streamed.parts))

    def _check(self, columns: Sequence[str]) -> None:
        """Refuse a column that never leaves the file, or that is not there. Raises PoolError."""
        dropped = [name for name in columns if isinstance(self._rules.get(name), Drop)]
        if dropped:
            raise PoolError(
                f"{self._where}: column {dropped[0]!r} is private and never read. Take it out of"
                " what reads it, or give it a rule under `mask`."
            )
        found = self._footer.schema
        # what stands twice, or is of a type that runs code; of a format without types the footer
        # knows the columns of the first lines alone
        known = [name for name in columns if name in found.names]
        check_columns(found, known, self._where)

    def _masked_parts(self, parts: Iterator[RowBatch]) -> Iterator[RowBatch]:
        while True:
            with self._without_quotes():
                part = next(parts, None)
            if part is None:
                return
            yield self._masked(part)

    def _masked(self, batch: RowBatch) -> RowBatch:
        rejected: Rejected = {
            row: (code, f"the row cannot be read; {_NOT_QUOTED}")
            for row, (code, _) in batch.rejected.items()
        }
        table = batch.table
        for number, name in enumerate(table.column_names):
            rule = self._rules.get(name)
            if rule is not None:
                column = masked_column(table.column(number), name, rule, rejected)
                table = table.set_column(number, name, column)
        return RowBatch(table, rejected)

    @contextmanager
    def _without_quotes(self, columns: Sequence[str] = ()) -> Iterator[None]:
        try:
            with without_quotes(self._where, self._format_title):
                yield
        except PoolError:
            if columns:  # a missing one explains it, by its name
                check_columns(self._footer.schema, columns, self._where)
            raise


@contextmanager
def without_quotes(where: str, format_title: str) -> Iterator[None]:
    """Turn errors of a file's content into one that quotes none of it; the store's own stay."""
    try:
        yield
    except (PoolError, pa.ArrowException, UnicodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        kind = type(error).__name__
        raise PoolError(
            f"{where}: cannot be read as {format_title} ({kind}); {_NOT_QUOTED}. Look at the file"
            " itself; replace it, or move it out of the pool."
        ) from None
