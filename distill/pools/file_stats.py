"""What new files say of themselves, each opened once: rows of each row group.

All files that cannot be read are told at once. Who reads them is the caller's choice: threads here,
or, for very many, the stage `list` with the whole cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from distill.core.errors import PoolError
from distill.core.progress import FILES, track
from distill.pools.formats.registry import read_footer
from distill.storage.base import ObjectMeta, Storage
from distill.storage.open import open_storage

_THREADS = 16
_MOST_NAMED = 3

FileStats = tuple[int, ...] | str
"""Rows of each row group, or what is wrong with the file."""
ReadFileStats = Callable[[str, str, Sequence[ObjectMeta], str], Sequence[FileStats]]
"""(title, URI of the pool, files, format) → a footing a file, in order."""


def read_file_stats(
    title: str, uri: str, entries: Sequence[ObjectMeta], format: str
) -> list[FileStats]:
    """Read in threads of this process, with a bar."""
    with track(title, len(entries), FILES) as bar:
        read = []
        for footing in stats_of_files(uri, [entry.key for entry in entries], format):
            read.append(footing)
            bar.advance(1)
    return read


def stats_of_files(uri: str, keys: Sequence[str], format: str) -> Iterator[FileStats]:
    """A footing a file, in order. Raises StorageError where the store, and no file, is what fails."""
    files = open_storage(uri)
    with ThreadPoolExecutor(_THREADS) as threads:
        yield from threads.map(lambda key: _footing(files, key, format), keys)


def require_readable(pool: str, footings: Sequence[FileStats]) -> list[tuple[int, ...]]:
    """The row groups of all files. Raises PoolError, which names files that cannot be read and
    counts them."""
    wrong = [footing for footing in footings if isinstance(footing, str)]
    if wrong:
        more = f"\n  … and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
        said = "\n  ".join(wrong[:_MOST_NAMED])
        raise PoolError(
            f"pools.{pool}: {len(wrong)} of {len(footings)} new files cannot be read:\n "
            f" {said}{more}"
        )
    return [footing for footing in footings if not isinstance(footing, str)]


def _footing(files: Storage, key: str, format: str) -> FileStats:
    try:
        return read_footer(files, key, format).row_groups
    except PoolError as error:
        return str(error)
