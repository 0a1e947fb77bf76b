"""The footers of new files, each opened once.

All files that cannot be read are named at once. Who reads them is the caller's choice: threads
here, or, for very many, the whole cluster (`distill.stages.inventory`). Either stores what it has
read now and then (`saved_footers`), so that a kill loses some hundreds at most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa

from distill.core.errors import PoolError
from distill.core.progress import FILES, track
from distill.pools.formats.registry import read_footer
from distill.pools.formats.shard_file import Footer
from distill.pools.saved_footers import FileStats, SaveFooters
from distill.storage.base import ObjectMeta, Storage
from distill.storage.open import open_storage

_THREADS = 16
_MOST_NAMED = 3
_SAVED_FILES = 256
_SAVED_SECONDS = 5.0  # as many files, or as long a time, are stored together

# (title, URI of the pool, files, format, save) → the stats of each file, in order
ReadFileStats = Callable[[str, str, Sequence[ObjectMeta], str, SaveFooters], Sequence[FileStats]]


def read_file_stats(
    title: str, uri: str, entries: Sequence[ObjectMeta], format: str, save: SaveFooters
) -> list[FileStats]:
    """Read the stats of files in threads, with a bar. All but the last few are saved on the way."""
    keys = [entry.key for entry in entries]
    read: list[FileStats] = []
    saved = 0
    saved_at = time.monotonic()
    with track(title, len(keys), FILES) as bar:
        for stats in stats_of_files(uri, keys, format):
            is_due = time.monotonic() - saved_at >= _SAVED_SECONDS and len(read) > saved
            if is_due or len(read) - saved >= _SAVED_FILES:
                save(entries[saved : len(read)], read[saved:])
                saved = len(read)
                saved_at = time.monotonic()
            read.append(stats)
            bar.advance(1)
    return read


def stats_of_files(uri: str, keys: Sequence[str], format: str) -> Iterator[FileStats]:
    """Read the stats of files, in order. Raises StorageError where the store is what fails."""
    files = open_storage(uri)
    schemas: dict[pa.Schema, pa.Schema] = {}
    with ThreadPoolExecutor(_THREADS) as threads:
        for stats in threads.map(lambda key: _stats_of_file(files, key, format), keys):
            if isinstance(stats, str):
                yield stats
                continue
            # as one object where they are alike: of 100,000 files that is megabytes, not gigabytes
            schema = schemas.setdefault(stats.schema, stats.schema)
            yield replace(stats, schema=schema)


def _stats_of_file(files: Storage, key: str, format: str) -> FileStats:
    try:
        footer = read_footer(files, key, format)
    except PoolError as error:
        return str(error)
    schema = footer.schema.remove_metadata()
    return replace(footer, schema=schema)


def require_readable(pool: str, stats: Sequence[FileStats]) -> list[Footer]:
    """Return the footers of all files. Raises PoolError, which names those that cannot be read."""
    wrong = [each for each in stats if isinstance(each, str)]
    if wrong:
        lines = [f"pools.{pool}: {len(wrong)} of {len(stats)} new files cannot be read:"]
        lines += wrong[:_MOST_NAMED]
        more = len(wrong) - _MOST_NAMED
        if more > 0:
            lines.append(f"… and {more} more")
        raise PoolError("\n  ".join(lines))
    return [each for each in stats if not isinstance(each, str)]
