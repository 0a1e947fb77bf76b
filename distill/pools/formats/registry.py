"""Rows of a shard by number, whatever its format: which format a pool has, its files' footers and
their rows.

Nothing read is executed: Arrow extension types are refused, and only the columns that a job names
are ever read, so a private column does not leave the file. What cannot be read within a file (a
broken line, text that is no UTF-8) is its row's trouble; what cannot be read of a file is an error
that names it, and never fewer rows.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pyarrow as pa

from distill.core.errors import PoolError
from distill.pools.formats.base import RowBatch
from distill.pools.formats.open import (
    errors_of_reading,
    missing_rows,
    open_shard,
    pinned_types,
    plain_columns,
    unreadable,
)
from distill.pools.formats.shard_file import FORMATS, Footer, ShardFile
from distill.pools.shard_id import require_listed
from distill.storage.base import Storage

_HEAD_BYTES = 64  # by which a file's format is recognised


def pool_format(
    keys: Iterable[str], where: str, declared: str | None = None, otherwise: str | None = None
) -> str:
    """Return the name of the format that a pool's files have by their endings, `otherwise` where
    those tell none, unless it is declared. Raises PoolError for none or several."""
    if declared is not None:
        return declared
    formats = _formats_by_ending()
    first: dict[str | None, str] = {}
    for key in keys:
        first.setdefault(formats.get(_ending(key, formats), otherwise), key)
    if None in first:
        key = first[None]
        known = ", ".join(ending for each in FORMATS.values() for ending in each.endings)
        raise PoolError(
            f"{where}: the ending of {key!r} tells no format ({known})."
            " Say `format`, or move the file out."
        )
    if len(first) > 1:
        examples = [f"{format} ({key})" for format, key in first.items()]
        found = ", ".join(examples)
        message = f"{where}: files of several formats: {found}. Give each format a pool of its own."
        raise PoolError(message)
    return next(format for format in first if format)


def recognised_format(files: Storage, key: str) -> str | None:
    """Return the format of a file by how it begins; None where that is no format's mark."""
    with files.open(key) as source:
        head = source.read(_HEAD_BYTES)
    return next((name for name, each in FORMATS.items() if each.recognises(head)), None)


def without_ending(key: str) -> str:
    """Return a file's key without the ending that tells its format."""
    endings = _formats_by_ending()
    ending = _ending(key, endings)
    return key[: len(key) - len(ending)]


def _ending(key: str, longest_first: Iterable[str]) -> str:
    """The longest ending that a key has, in lower case; none where it has none."""
    lower = key.lower()
    return next((ending for ending in longest_first if lower.endswith(ending)), "")


def _formats_by_ending() -> dict[str, str]:
    """Names of formats by ending, of all that are registered by now."""
    formats = FORMATS.values()
    return _longest_first(tuple(formats))


@functools.lru_cache(maxsize=16)
def _longest_first(formats: tuple[type[ShardFile], ...]) -> dict[str, str]:
    """Names of formats by ending, the longest ending first."""
    # sorted once, and not for each file
    found = [(ending, each.name) for each in formats for ending in each.all_endings()]
    found.sort(key=lambda pair: len(pair[0]), reverse=True)
    return dict(found)


def read_footer(files: Storage, key: str, format: str) -> Footer:
    """Read the footer of one shard. Raises PoolError where it is no readable file of its format."""
    with open_shard(files, key, format) as shard:
        try:
            footer = shard.footer()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise unreadable(error, files.url(key), format) from error
    schema = footer.schema
    for name, kind in pinned_types(format).items():
        number = schema.get_field_index(name)  # -1 also where it stands twice
        if number >= 0:
            schema = schema.set(number, schema.field(number).with_type(kind))
    return replace(footer, schema=schema)


def read_rows(
    files: Storage,
    key: str,
    rows: range,
    columns: Sequence[str],
    *,
    format: str,
    listed: str | None = None,
) -> RowBatch:
    """Read rows `rows` of one shard, in order, with `columns` alone. Raises PoolError.

    With `listed`, the id of the shard in the inventory, rows of a file that changed meanwhile are
    refused."""
    distinct = dict.fromkeys(columns)
    columns = list(distinct)
    where = files.url(key)
    with open_shard(files, key, format) as shard, errors_of_reading(where, rows):
        batch = shard.read(rows, columns)
    if len(batch.table) != len(rows):
        raise missing_rows(where, rows)
    if listed is not None:
        require_listed(files, key, listed)
    return plain_columns(batch, columns, format)
