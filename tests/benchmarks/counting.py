"""Bytes that bare Ray Data reads of its input."""

from __future__ import annotations

import os
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem


class CountingFiles(LocalFileSystem):
    """A disk that notes, in the folder `DISTILL_BENCH_COUNTS`, how many bytes each process read of
    it."""

    cachable = False

    def _open(self, path, mode="rb", block_size=None, **more):
        file = super()._open(path, mode, block_size, **more)
        read = file.read

        def counting_read(*size):
            content = read(*size)
            with Path(os.environ["DISTILL_BENCH_COUNTS"], str(os.getpid())).open("ab") as log:
                log.write(f"{len(content)}\n".encode())
            return content

        file.read = counting_read
        return file


def bytes_counted(folder: Path) -> int:
    """All that CountingFiles noted."""
    return sum(int(line) for log in folder.iterdir() for line in log.read_text().split())
