"""Rows of a shard by number, whatever its format. One file a format, behind `Shard`.

Nothing read is executed: Arrow extension types are refused, and only the columns that a job names are ever read, so a private
column does not leave the file. What cannot be read within a file (a broken line, text that is no UTF-8) is its row's trouble; what cannot
be read of a file is an error that names it, and never fewer rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from distill.errors import PoolError, StorageError
from distill.job import Format
from distill.pool.formats.arrow import ArrowShard
from distill.pool.formats.base import (
    UNDECODABLE,
    Footer,
    GroupCache,
    Rejected,
    Shard,
    Taken,
    check_columns,
    check_keys,
    is_text,
)
from distill.pool.formats.csv import CsvShard
from distill.pool.formats.jsonl import JsonlShard
from distill.pool.formats.parquet import ParquetShard
from distill.pool.listed import require_listed
from distill.storage import ObjectMissingError, Storage

__all__ = [
    "INDEXED",
    "Footer",
    "GroupCache",
    "Rejected",
    "Taken",
    "check_columns",
    "check_keys",
    "pool_format",
    "read_footer",
    "read_rows",
    "without_ending",
]

INDEXED: tuple[Format, ...] = ("parquet", "arrow")
"""Formats of which a run of rows is read alone. The others are one fragment a shard."""
_SHARDS: dict[str, Callable[[pa.NativeFile, str], Shard]] = {
    "parquet": ParquetShard,
    "arrow": ArrowShard,
    "jsonl": JsonlShard,
    "csv": CsvShard,
}
_SAID = {"parquet": "Parquet", "arrow": "Arrow IPC", "jsonl": "JSON lines", "csv": "CSV"}
_ENDINGS: dict[str, Format] = {
    ".parquet": "parquet",
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
    **dict.fromkeys((".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"), "jsonl"),
    **dict.fromkeys((".csv", ".csv.gz"), "csv"),
}


def pool_format(keys: Iterable[str], where: str, declared: Format | None = None) -> Format:
    """The format that a pool's files have by their endings, unless it is declared. Raises PoolError for none or several."""
    if declared is not None:
        return declared
    first: dict[Format | None, str] = {}
    for key in keys:
        first.setdefault(_ENDINGS.get(_ending(key)), key)
    if None in first:
        raise PoolError(
            f"{where}: the ending of {first[None]!r} tells no format ({', '.join(_ENDINGS)}). Say `format`, or move the file out."
        )
    if len(first) > 1:
        said = ", ".join(f"{format} ({key})" for format, key in first.items())
        raise PoolError(f"{where}: files of several formats: {said}. Give each format a pool of its own.")
    return next(format for format in first if format)


def without_ending(key: str) -> str:
    """A file's key without the ending that tells its format."""
    return key[: len(key) - len(_ending(key))]


def _ending(key: str) -> str:
    """The one that tells its format, in lower case; none where none does."""
    return next((end for end in _ENDINGS if key.lower().endswith(end)), "")


def read_footer(files: Storage, key: str, format: str) -> Footer:
    """The footer of one shard. Raises PoolError where it is no readable file of its format."""
    with _open(files, key, format) as shard:
        try:
            return shard.footer()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _told(error, files.url(key), f"is no readable {_SAID[format]} file") from error


def read_rows(
    files: Storage,
    key: str,
    rows: range,
    columns: Sequence[str],
    *,
    format: str,
    listed: str | None = None,
    cache: GroupCache | None = None,
) -> Taken:
    """Rows `rows` of one shard, in order, with `columns` alone. Raises PoolError.

    With `listed`, the id of the shard in the inventory, rows of a file that changed meanwhile are refused. With `cache`, the row group
    that holds all of `rows` is decoded once for all who read it next.
    """
    columns, where = list(dict.fromkeys(columns)), files.url(key)
    with _open(files, key, format) as shard:
        try:
            taken = shard.read(rows, columns, cache)
        except (pa.ArrowException, OSError) as error:
            raise _told(error, where, f"rows {rows.start}–{rows.stop - 1} cannot be read") from error
    if len(taken.table) != len(rows):
        raise PoolError(
            f"{where}: has no rows {rows.start}–{rows.stop - 1} any more. Restore the file as it was listed."
        )
    if listed is not None:
        require_listed(files, key, listed)
    return _plain(taken, columns)


def _plain(taken: Taken, columns: Sequence[str]) -> Taken:
    """`columns` in their order, dictionaries unpacked; text that is no UTF-8 rejects its row."""
    rejected, plain = dict(taken.rejected), []
    for name in columns:
        column = taken.table[name]
        column = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        plain.append(_valid_text(column, name, rejected) if is_text(column.type) else column)
    return Taken(pa.table(plain, list(columns)), rejected)


def _valid_text(column: pa.ChunkedArray, name: str, rejected: Rejected) -> pa.ChunkedArray:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        texts: list[str | None] = []
        for row, raw in enumerate(column.cast(pa.large_binary()).to_pylist()):
            try:
                texts.append(None if raw is None else raw.decode("utf-8"))
            except UnicodeDecodeError as error:
                rejected.setdefault(row, (UNDECODABLE, f"column {name!r} holds text that is no UTF-8: {error}"))
                texts.append(None)
        return pa.chunked_array([texts], column.type)
    return column


@contextmanager
def _open(files: Storage, key: str, format: str) -> Iterator[Shard]:
    where = files.url(key)
    try:
        source = files.open(key)
    except ObjectMissingError:
        raise PoolError(f"{where} is not there. Restore it as it was listed.") from None
    with source:
        try:
            shard = _SHARDS[format](source if isinstance(source, pa.NativeFile) else pa.PythonFile(source, "r"), where)
        except (pa.ArrowException, OSError) as error:
            raise _told(error, where, f"is no readable {_SAID[format]} file") from error
        yield shard


def _told(error: Exception, where: str, what: str) -> PoolError | StorageError:
    if isinstance(error, OSError) and error.errno:  # of the store; pyarrow's own, for damage, have no number
        return StorageError(f"{where} cannot be read now: {error}. Run the same command again.")
    return PoolError(f"{where}: {what}: {error}. Replace the file, or move it out of the pool.")
