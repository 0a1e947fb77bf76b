"""The stage `list`: take the inventory of each pool, with the whole cluster where very many files
are new.

Each new file is opened once, to learn its row groups. A footer is some 100 ms from object storage
and a millisecond from a disk, so a few hundred are read sooner here than a Ray starts; 100,000
would take one machine minutes to hours. A format without an index is counted by reading it whole,
which is the cluster's work where there is much of it.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

from distill.core.errors import PoolError
from distill.core.progress import FILES
from distill.engine.ray.fold import fold
from distill.job.job import Job
from distill.plan.pools import open_pool
from distill.pools.file_stats import FileStats, read_file_stats, stats_of_files
from distill.pools.formats.registry import INDEXED
from distill.storage.base import ObjectMeta

_MOST_FILES_HERE = 500
_MOST_BYTES_HERE = 1 << 30
"""Of files that are read whole."""
_FILES_AT_ONCE = 32
"""Keys that one call looks at, in threads."""


@dataclass(frozen=True)
class _Look:
    """What travels to the workers."""

    uri: str
    format: str

    def __call__(self, keys: Sequence[str]) -> list[FileStats]:
        return list(stats_of_files(self.uri, keys, self.format))


def list_pools(job: Job) -> None:
    """Take the inventories of all pools of a job. Needs Ray only where very many files are new.
    Raises PoolError."""
    problems = []
    for name in job.pools:
        try:
            open_pool(job, name, read=_read_footers)
        except PoolError as error:
            problems.append(f"{job.path}: {error}")
    if problems:
        raise PoolError("\n".join(problems))


def _read_footers(
    title: str, uri: str, entries: Sequence[ObjectMeta], format: str
) -> Sequence[FileStats]:
    size_bytes = 0 if format in INDEXED else sum(entry.size_bytes for entry in entries)
    if len(entries) <= _MOST_FILES_HERE and size_bytes <= _MOST_BYTES_HERE:
        return read_file_stats(title, uri, entries, format)
    keys = [entry.key for entry in entries]
    chunks = [keys[start : start + _FILES_AT_ONCE] for start in range(0, len(keys), _FILES_AT_ONCE)]
    return fold(title, _Look(uri, format), chunks, operator.add, unit=FILES, size=len)
