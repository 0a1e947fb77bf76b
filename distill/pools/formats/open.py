"""Opening one file of a format, and what is said where it cannot be read: an error that names it,
and never fewer rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from distill.core.errors import PoolError, StorageError
from distill.pools.formats.arrow import ArrowShard
from distill.pools.formats.base import UNDECODABLE, Rejected, RowBatch, Shard, is_text
from distill.pools.formats.csv import CsvShard
from distill.pools.formats.jsonl import JsonlShard
from distill.pools.formats.parquet import ParquetShard
from distill.storage.base import ObjectMissingError, Storage

_SHARDS: dict[str, Callable[[pa.NativeFile, str], Shard]] = {
    "parquet": ParquetShard,
    "arrow": ArrowShard,
    "jsonl": JsonlShard,
    "csv": CsvShard,
}
SAID = {"parquet": "Parquet", "arrow": "Arrow IPC", "jsonl": "JSON lines", "csv": "CSV"}


@contextmanager
def opened(files: Storage, key: str, format: str) -> Iterator[Shard]:
    """The file. Raises PoolError where it is not there, or is none of its format."""
    where = files.url(key)
    try:
        source = files.open(key)
    except ObjectMissingError:
        raise PoolError(f"{where} is not there. Restore it as it was listed.") from None
    with source:
        try:
            shard = _SHARDS[format](
                source if isinstance(source, pa.NativeFile) else pa.PythonFile(source, "r"), where
            )
        except (pa.ArrowException, OSError) as error:
            raise told(error, where, f"is no readable {SAID[format]} file") from error
        yield shard


@contextmanager
def reading(where: str, rows: range) -> Iterator[None]:
    """Arrow's errors, told as ours."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise told(error, where, f"rows {rows.start}–{rows.stop - 1} cannot be read") from error


def no_rows(where: str, rows: range) -> PoolError:
    """The file is shorter than it was."""
    return PoolError(
        f"{where}: has no rows {rows.start}–{rows.stop - 1} any more. Restore the file as it was"
        " listed."
    )


def told(error: Exception, where: str, what: str) -> PoolError | StorageError:
    """An error of Arrow's or of the store's, by what it means."""
    if (
        isinstance(error, OSError) and error.errno
    ):  # of the store; pyarrow's own, for damage, have no number
        return StorageError(f"{where} cannot be read now: {error}. Run the same command again.")
    return PoolError(f"{where}: {what}: {error}. Replace the file, or move it out of the pool.")


def plain(taken: RowBatch, columns: Sequence[str]) -> RowBatch:
    """`columns` in their order, dictionaries unpacked; text that is no UTF-8 rejects its row."""
    rejected, plain = dict(taken.rejected), []
    for name in columns:
        column = taken.table[name]
        column = (
            column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        )
        plain.append(_valid_text(column, name, rejected) if is_text(column.type) else column)
    return RowBatch(pa.table(plain, list(columns)), rejected)


def _valid_text(column: pa.ChunkedArray, name: str, rejected: Rejected) -> pa.ChunkedArray:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        texts: list[str | None] = []
        for row, raw in enumerate(column.cast(pa.large_binary()).to_pylist()):
            try:
                texts.append(None if raw is None else raw.decode("utf-8"))
            except UnicodeDecodeError as error:
                rejected.setdefault(
                    row, (UNDECODABLE, f"column {name!r} holds text that is no UTF-8: {error}")
                )
                texts.append(None)
        return pa.chunked_array([texts], column.type)
    return column
