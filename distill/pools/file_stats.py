"""The footers of new files, each opened once.

All files that cannot be read are named at once. Who reads them is the caller's choice: threads
here, or, for very many, the whole cluster (`distill.stages.inventory`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa

from distill.core.errors import PoolError
from distill.core.progress import FILES, track
from distill.pools.formats.registry import read_footer
from distill.pools.formats.shard_file import Footer
from distill.storage.base import ObjectMeta, Storage
from distill.storage.open import open_storage

_THREADS = 16
_MOST_NAMED = 3

FileStats = Footer | str
"""What a file says of its rows and columns, or what is wrong with it."""
ReadFileStats = Callable[[str, str, Sequence[ObjectMeta], str], Sequence[FileStats]]
"""(title, URI of the pool, files, format) → the stats of each file, in order."""


def read_file_stats(
    title: str, uri: str, entries: Sequence[ObjectMeta], format: str
) -> list[FileStats]:
    """Read the stats of files in threads of this process, with a bar."""
    keys = [entry.key for entry in entries]
    read = []
    with track(title, len(keys), FILES) as bar:
        for stats in stats_of_files(uri, keys, format):
            read.append(stats)
            bar.advance(1)
    return read


def stats_of_files(uri: str, keys: Sequence[str], format: str) -> Iterator[FileStats]:
    """Read the stats of files, in order. Raises StorageError where the store, and no file, is what
    fails."""
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
    return replace(footer, schema=footer.schema.remove_metadata())


def require_readable(pool: str, stats: Sequence[FileStats]) -> list[Footer]:
    """Return the footers of all files. Raises PoolError, which names files that cannot be read
    and counts them."""
    wrong = [each for each in stats if isinstance(each, str)]
    if wrong:
        lines = [f"pools.{pool}: {len(wrong)} of {len(stats)} new files cannot be read:"]
        lines += wrong[:_MOST_NAMED]
        more = len(wrong) - _MOST_NAMED
        if more > 0:
            lines.append(f"… and {more} more")
        raise PoolError("\n  ".join(lines))
    return [each for each in stats if not isinstance(each, str)]
