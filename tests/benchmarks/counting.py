"""Requests of this process to its stores, and bytes that bare Ray Data reads of its input."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from distill import storage
from distill.storage.local import LocalStorage

_PAGE_KEYS = 1_000


@dataclass
class Counts:
    """As `distill.storage.Counts`."""

    list: int = 0
    get: int = 0
    put: int = 0
    delete: int = 0

    def __sub__(self, before: Counts) -> Counts:
        return Counts(*(now - then for now, then in zip(astuple(self), astuple(before), strict=True)))


_counts = Counts()


def counted() -> Any:
    """What this process asked of its stores until now; counting begins with the first call."""
    if hasattr(storage, "requests"):
        return storage.requests()
    if not hasattr(LocalStorage.walk, "counted"):
        _count_local()
    return replace(_counts)


def _count_local() -> None:
    """Until `distill.storage` counts by itself: a page of 1,000 keys is a LIST."""
    for name, kind in {"open": "get", "put": "put", "create": "put", "delete": "delete"}.items():
        setattr(LocalStorage, name, _counting(getattr(LocalStorage, name), kind))
    walk = LocalStorage.walk

    def counting_walk(self: LocalStorage) -> Iterator[storage.Entry]:
        number = 0
        for number, entry in enumerate(walk(self), 1):  # noqa: B007
            yield entry
        _counts.list += max(1, -(-number // _PAGE_KEYS))

    counting_walk.counted = True
    LocalStorage.walk = counting_walk


def _counting(function: Callable[..., Any], kind: str) -> Callable[..., Any]:
    def counting(*arguments: Any) -> Any:
        setattr(_counts, kind, getattr(_counts, kind) + 1)
        return function(*arguments)

    return counting


class CountingFiles(LocalFileSystem):
    """A disk that notes, in the folder `DISTILL_BENCH_COUNTS`, how many bytes each process read of it."""

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
