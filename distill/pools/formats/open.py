"""Opening one file of a format, and what is said where it cannot be read: an error that names it,
and never fewer rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import BinaryIO

import pyarrow as pa

from distill.core.errors import PoolError, StorageError
from distill.pools.formats.base import RowBatch, is_text, valid_text, value_type
from distill.pools.formats.masked import MaskedShard, without_quotes
from distill.pools.formats.masking import rules_of
from distill.pools.formats.options import (
    MIXED,
    column_types,
    format_name,
    format_options,
    mask_text,
)
from distill.pools.formats.path_columns import PathShard, path_columns
from distill.pools.formats.shard_file import FORMATS, UNDECLARED, ShardFile
from distill.storage.base import ObjectMissingError, Storage


def format_named(format: str) -> type[ShardFile]:
    """Return the class of a format, whatever its options. Raises PoolError where it is of a plugin
    that is not loaded."""
    name = format_name(format)
    if name in UNDECLARED:
        return UNDECLARED[name]
    if name not in FORMATS:
        raise PoolError(
            f"the pool format {name!r} is not known here, only {', '.join(FORMATS)}."
            " Load the plugin that defines it."
        )
    return FORMATS[name]


@contextmanager
def open_shard(files: Storage, key: str, format: str) -> Iterator[ShardFile]:
    """Open a file, whose private columns are masked from here on. Raises PoolError where it is not
    there, or is none of its format."""
    where = files.url(key)
    kind = format_named(format)
    try:
        source = files.open(key)
    except ObjectMissingError:
        raise PoolError(f"{where} is not there. Restore it as it was listed.") from None
    with source:
        file = native_file(source)
        dialect = format_options(format).get(kind.name)
        mask = mask_text(format)
        rules = rules_of(mask)
        quoting = without_quotes(where, kind.title) if rules else nullcontext()
        try:
            with quoting:
                shard = kind(file, where) if dialect is None else kind(file, where, dialect)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(error, where, format) from error
        except ImportError as error:
            if not kind.install:
                raise
            raise PoolError(
                f"{where}: {kind.title} files need {error.name}, which is not installed."
                f" Run: {kind.install}"
            ) from error
        shard.prefetch = getattr(source, "prefetch", None)
        columns = path_columns(key)
        whole = PathShard(shard, where, columns) if columns else shard
        yield MaskedShard(whole, where, kind.title, rules) if rules else whole


def native_file(source: BinaryIO) -> pa.NativeFile:
    """Return an open file as Arrow reads it."""
    return source if isinstance(source, pa.NativeFile) else pa.PythonFile(source, "r")


@contextmanager
def errors_of_reading(where: str, rows: range) -> Iterator[None]:
    """Turn Arrow's errors, and those of the store, into ours."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise _named(error, where, f"rows {_span(rows)} cannot be read") from error


def unreadable(error: Exception, where: str, format: str) -> PoolError | StorageError:
    """Return the error of a file that is none of its format."""
    return _named(error, where, f"is no readable {format_named(format).title} file")


def missing_rows(where: str, rows: range) -> PoolError:
    """Return the error of a file that is shorter than it was."""
    span = _span(rows)
    return PoolError(f"{where}: has no rows {span} any more. Restore the file as it was listed.")


def _span(rows: range) -> str:
    return f"{rows.start}–{rows.stop - 1}"


def _named(error: Exception, where: str, what: str) -> PoolError | StorageError:
    # the store's errors have a number; pyarrow raises OSError for damage too, without one
    if isinstance(error, OSError) and error.errno:
        return StorageError(f"{where} cannot be read now: {error}. Run the same command again.")
    return PoolError(f"{where}: {what}: {error}. Replace the file, or move it out of the pool.")


def plain_columns(batch: RowBatch, columns: Sequence[str], format: str) -> RowBatch:
    """Return `columns` in their order, dictionaries unpacked, of the types that the format pins;
    text that is no UTF-8 rejects its row."""
    rejected = dict(batch.rejected)
    pinned = pinned_types(format)
    arrays = []
    for name in columns:
        column = batch.table[name]
        kind = pinned.get(name, value_type(column.type))
        if kind != column.type:
            column = column.cast(kind)
        if is_text(kind):
            column = valid_text(column, name, rejected)
        arrays.append(column)
    return RowBatch(pa.table(arrays, list(columns)), rejected)


def pinned_types(format: str) -> dict[str, pa.DataType]:
    """Return the types that a format brings columns to, by their names."""
    pinned = {}
    mask = mask_text(format)
    masked = rules_of(mask)  # whose rules decide their types
    for name, kind in column_types(format).items():
        if kind != MIXED and name not in masked:
            pinned[name] = pa.type_for_alias(kind)
    return pinned
