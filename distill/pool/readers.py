"""Rows of a shard by number. Parquet has an index (row groups), so that a run of rows is read with its row groups alone.

A run of rows costs all row groups that it touches, so row groups of about `fragment_rows` rows are the cheapest to label.

Nothing read is executed: Arrow extension types are refused, and only the columns that a job names are ever read, so a private
column does not leave the file.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

import pyarrow as pa
import pyarrow.parquet as pq

from distill.errors import PoolError, StorageError
from distill.storage import ObjectMissingError, Storage


@dataclass(frozen=True)
class Footer:
    """What a Parquet file says of itself: rows of each row group, and its Arrow schema."""

    row_groups: tuple[int, ...]
    schema: pa.Schema


class GroupCache:
    """The row group that was decoded last, so that the fragments of one large row group decode it once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._of: Hashable = None
        self._table: pa.Table | None = None

    def get(self, of: Hashable, decode: Callable[[], pa.Table]) -> pa.Table:
        """The table that `of` names, made by `decode` unless it is the one that is held."""
        with self._lock:
            if self._table is None or self._of != of:
                self._table = None
                self._table = decode()
                self._of = of
            return self._table


def read_footer(files: Storage, key: str) -> Footer:
    """The footer of one shard. Raises PoolError where it is no readable Parquet file."""
    with _open(files, key) as parquet:
        groups = tuple(parquet.metadata.row_group(number).num_rows for number in range(parquet.num_row_groups))
        return Footer(groups, parquet.schema_arrow)


def read_rows(
    files: Storage, key: str, rows: range, columns: Sequence[str], *, cache: GroupCache | None = None
) -> pa.Table:
    """Rows `rows` of one shard, in order, with `columns` alone. Raises PoolError."""
    with _open(files, key) as parquet:
        check_columns(parquet.schema_arrow, columns, files.url(key))
        wanted, first = _row_groups(parquet, rows)

        def decode() -> pa.Table:
            return parquet.read_row_groups(wanted, columns=list(columns), use_threads=False)

        try:
            of = (files.url(key), tuple(columns), *wanted)
            table = cache.get(of, decode) if cache and len(wanted) == 1 else decode()
        except (pa.ArrowException, OSError) as error:
            raise PoolError(
                f"{files.url(key)}: rows {rows.start}–{rows.stop - 1} cannot be read: {error}. Replace the file."
            ) from error
    taken = table.slice(rows.start - first, len(rows))
    if len(taken) != len(rows):
        raise PoolError(
            f"{files.url(key)}: has no rows {rows.start}–{rows.stop - 1} any more. Restore the file as it was listed."
        )
    return taken


def check_columns(schema: pa.Schema, columns: Sequence[str], where: str) -> None:
    """Refuse a shard that lacks a column or carries an extension type in it. Raises PoolError."""
    for name in columns:
        if name not in schema.names:
            raise PoolError(
                f"{where}: no column {name!r}. It has: {', '.join(schema.names)}. Correct the job, or the file."
            )
        if isinstance(schema.field(name).type, pa.BaseExtensionType):
            raise PoolError(
                f"{where}: column {name!r} is an Arrow extension type, {schema.field(name).type}. Store plain types."
            )


@contextmanager
def _open(files: Storage, key: str) -> Iterator[pq.ParquetFile]:
    try:
        source = files.open(key)
    except ObjectMissingError:
        raise PoolError(f"{files.url(key)} is not there. Restore it as it was listed.") from None
    with source:
        try:
            parquet = pq.ParquetFile(pa.PythonFile(source, "r"), memory_map=False)
        except (pa.ArrowException, OSError) as error:
            if (
                isinstance(error, OSError) and error.errno
            ):  # of the store; pyarrow's own, for a damaged footer, have no number
                raise StorageError(
                    f"{files.url(key)} cannot be read now: {error}. Run the same command again."
                ) from error
            said = f"{files.url(key)} is no readable Parquet file: {error}. Replace it, or move it out of the pool."
            raise PoolError(said) from None
        with parquet:
            yield parquet


def _row_groups(parquet: pq.ParquetFile, rows: range) -> tuple[list[int], int]:
    """The row groups that hold `rows`, and the first row of the first of them."""
    wanted: list[int] = []
    first = start = 0
    for number in range(parquet.num_row_groups):
        stop = start + parquet.metadata.row_group(number).num_rows
        if start < rows.stop and stop > rows.start:
            first = start if not wanted else first
            wanted.append(number)
        start = stop
    return wanted, first
