"""Rows of a shard by number, whatever its format. One file a format, behind `Shard`.

Nothing read is executed: Arrow extension types are refused, and only the columns that a job names
are ever read, so a private column does not leave the file. What cannot be read within a file (a
broken line, text that is no UTF-8) is its row's trouble; what cannot be read of a file is an error
that names it, and never fewer rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from distill.core.errors import PoolError
from distill.pools.formats.base import Footer, RowBatch
from distill.pools.formats.open import SAID, no_rows, opened, plain, reading, told
from distill.pools.shard_id import require_listed
from distill.spec.pools import Format
from distill.storage.base import Storage

INDEXED: tuple[Format, ...] = ("parquet", "arrow")
"""Formats of which a run of rows is read alone. The others are one fragment a shard."""
_ENDINGS: dict[str, Format] = {
    ".parquet": "parquet",
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
    **dict.fromkeys((".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"), "jsonl"),
    **dict.fromkeys((".csv", ".csv.gz"), "csv"),
}


def pool_format(keys: Iterable[str], where: str, declared: Format | None = None) -> Format:
    """The format that a pool's files have by their endings, unless it is declared. Raises PoolError
    for none or several."""
    if declared is not None:
        return declared
    first: dict[Format | None, str] = {}
    for key in keys:
        first.setdefault(_ENDINGS.get(_ending(key)), key)
    if None in first:
        raise PoolError(
            f"{where}: the ending of {first[None]!r} tells no format ({', '.join(_ENDINGS)}). Say"
            " `format`, or move the file out."
        )
    if len(first) > 1:
        said = ", ".join(f"{format} ({key})" for format, key in first.items())
        raise PoolError(
            f"{where}: files of several formats: {said}. Give each format a pool of its own."
        )
    return next(format for format in first if format)


def without_ending(key: str) -> str:
    """A file's key without the ending that tells its format."""
    return key[: len(key) - len(_ending(key))]


def _ending(key: str) -> str:
    """The one that tells its format, in lower case; none where none does."""
    return next((end for end in _ENDINGS if key.lower().endswith(end)), "")


def read_footer(files: Storage, key: str, format: str) -> Footer:
    """The footer of one shard. Raises PoolError where it is no readable file of its format."""
    with opened(files, key, format) as shard:
        try:
            return shard.footer()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise told(error, files.url(key), f"is no readable {SAID[format]} file") from error


def read_rows(
    files: Storage,
    key: str,
    rows: range,
    columns: Sequence[str],
    *,
    format: str,
    listed: str | None = None,
) -> RowBatch:
    """Rows `rows` of one shard, in order, with `columns` alone. Raises PoolError.

    With `listed`, the id of the shard in the inventory, rows of a file that changed meanwhile are
    refused.
    """
    columns, where = list(dict.fromkeys(columns)), files.url(key)
    with opened(files, key, format) as shard, reading(where, rows):
        taken = shard.read(rows, columns)
    if len(taken.table) != len(rows):
        raise no_rows(where, rows)
    if listed is not None:
        require_listed(files, key, listed)
    return plain(taken, columns)
