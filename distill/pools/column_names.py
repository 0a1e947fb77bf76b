"""Whether new files have the columns that a job reads, where their footers do not tell: held against
their rows when they are listed, before anything is paid for.

Of files without types a footer names what their head has. A field that no line of a file has is a
mistake; one that only its first lines lack is null there. A column that stands in a file and in its
path too is the file's own: what the path says instead is told, since one of the two is not what its
name says.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import cast

from distill.core.errors import PoolError
from distill.pools.formats.path_columns import path_columns
from distill.pools.formats.registry import read_rows
from distill.pools.formats.shard_file import Footer
from distill.storage.base import Storage

log = logging.getLogger(__name__)

_MOST_NAMED = 3
# files whose own columns are held against their paths: a writer does the same in all
_MOST_OPENED = 16
_LOOKED_AT_ROWS = 64

Footers = Mapping[str, Footer]  # of new files, by key


def check_names(
    footers: Footers, files: Storage, columns: Sequence[str], format: str, pool: str
) -> None:
    """Refuse files that lack one of `columns` or have it twice. Raises PoolError."""
    problems: list[str] = []
    for key, footer in footers.items():
        names = footer.schema.names
        unclear = [name for name in columns if names.count(name) != 1]
        if not unclear or not sum(footer.row_groups):
            continue
        try:
            read_rows(files, key, range(1), unclear, format=format)
        except PoolError as error:
            problems.append(str(error))
        if len(problems) == _MOST_NAMED:
            break
    if problems:
        lines = "\n  ".join(problems)
        raise PoolError(f"pools.{pool}: {lines}")


def tell_path_columns(
    footers: Footers, files: Storage, columns: Sequence[str], format: str, pool: str
) -> None:
    """Log each of `columns` that files have themselves, where their paths say something else."""
    shared = []
    for key, footer in footers.items():
        in_path = path_columns(key).keys() & set(columns)
        shared += [(key, name) for name in in_path.difference(footer.path_columns)]
    step = max(1, len(shared) // _MOST_OPENED)
    told = set()
    for key, name in shared[::step]:
        in_path_too = path_columns(key)[name]
        firsts = _first_values(files, key, footers[key], name, format)
        others = [value for value in firsts if not _is_same(value, in_path_too)]
        if others and name not in told:
            told.add(name)
            what = (
                "pools.%s: column %r of %s holds %r, where its path says %r;"
                " the file's own values are read"
            )
            log.warning(what, pool, name, files.url(key), others[0], in_path_too)


def _first_values(
    files: Storage, key: str, footer: Footer, name: str, format: str
) -> Sequence[object]:
    rows = range(min(_LOOKED_AT_ROWS, sum(footer.row_groups)))
    values = read_rows(files, key, rows, [name], format=format).table[name]
    return cast("list[object]", values.drop_null().to_pylist())


def _is_same(value: object, text: str | None) -> bool:
    """Whether a value is what a path says, as text or as a number."""
    # `01` and 1 are one month
    if text is None:
        return False
    if str(value).lower() == text.lower():
        return True
    try:
        return float(str(value)) == float(text)
    except ValueError:
        return False
