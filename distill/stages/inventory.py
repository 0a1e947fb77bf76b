"""How a pool's new files are read for its inventory: by the whole cluster where they are many.

Each new file is opened once, to learn its row groups. A footer is some 100 ms from object storage
and a millisecond from a disk, so a few hundred are read sooner here than a Ray starts; 100,000
would take one machine minutes to hours. Each worker stores the footers that it has read, so that
they outlive a driver that is killed. A format without an index is counted by reading it whole,
which is the cluster's work where there is much of it.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

from distill.core.progress import FILES
from distill.engine.protocol import Engine
from distill.pools.file_stats import ReadFileStats, read_file_stats, stats_of_files
from distill.pools.formats.open import format_named
from distill.pools.saved_footers import FileStats, SaveFooters
from distill.storage.base import ObjectMeta

_MOST_FILES_HERE = 500
_MOST_BYTES_HERE = 1 << 30  # of files that are read whole
_FILES_AT_ONCE = 64  # that one call looks at, in threads, and stores the footers of


@dataclass(frozen=True)
class _Look:
    """What travels to the workers."""

    uri: str
    format: str
    save: SaveFooters

    def __call__(self, files: Sequence[ObjectMeta]) -> list[FileStats]:
        keys = [file.key for file in files]
        stats = list(stats_of_files(self.uri, keys, self.format))
        self.save(files, stats)
        return stats


def file_stats_reader(engine: Engine) -> ReadFileStats:
    """Return how new files of a pool are read: here where they are few, by `engine` else."""

    def read(
        title: str, uri: str, files: Sequence[ObjectMeta], format: str, save: SaveFooters
    ) -> Sequence[FileStats]:
        size_bytes = 0
        if not format_named(format).indexed:
            size_bytes = sum(file.size_bytes for file in files)
        if len(files) <= _MOST_FILES_HERE and size_bytes <= _MOST_BYTES_HERE:
            return read_file_stats(title, uri, files, format, save)
        starts = range(0, len(files), _FILES_AT_ONCE)
        chunks = [files[start : start + _FILES_AT_ONCE] for start in starts]
        look = _Look(uri, format, save)
        return engine.fold(title, look, chunks, operator.add, unit=FILES, size=len)

    return read
