"""Decoded chunks on this machine's disk, for pools and label sets that lie elsewhere: a later epoch
reads them here.

    <folder>/<one a process>/lock  0  1  2 …

The folder is `distill-chunks-<user>` below `DISTILL_CACHE`, or else where this machine keeps
temporary files (`TMPDIR`). A file is the bytes of a chunk's arrays, end to end; what they are, and
their digest, the process keeps to itself, so that no file is believed for what it says. The process
holds the lock of its own folder; a folder whose lock nobody holds was left by a process that was
killed, and the next one deletes it.

It never fails a training: a disk that is full, or a file that is gone or damaged, is told once, and
the chunk is read from where it came from.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash
from filelock import FileLock, Timeout

from distill.loader.dataset import Arrays
from distill.loader.sampler import Chunk
from distill.spec.uris import CACHE

LEFT_FREE_BYTES = 2 << 30
"""Nothing is written where less than this would be left on the disk."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Kept:
    """One chunk's file: where, its digest, and name, type and shape of each array."""

    file: Path
    xxh3: bytes
    arrays: tuple[tuple[str, np.dtype[np.generic], tuple[int, ...]], ...]


class DiskCache:
    """Chunks of the sources of one process, up to so many bytes together. For many threads."""

    def __init__(self, most_bytes: int, folder: Path | None = None) -> None:
        self.most_bytes = most_bytes
        self.held_bytes = 0
        self._kept: dict[tuple[int, Chunk], _Kept] = {}
        self._lock = threading.Lock()
        self._said = False
        self._folder, self._mine = _begun(folder or _usual_folder()) if most_bytes else (None, None)

    def get(self, source: int, chunk: Chunk) -> Arrays | None:
        """The arrays of one chunk of the process's `source`; None where they are not here."""
        kept = self._kept.get((source, chunk))
        if kept is None:
            return None
        try:
            content = np.fromfile(kept.file, np.uint8)
        except OSError as error:
            content = np.empty(0, np.uint8)
            self._tell(f"{kept.file}: {error.strerror}")
        if xxhash.xxh3_128_digest(content.data) != kept.xxh3:
            self._tell(f"{kept.file} is not what was written")
            with self._lock:
                self._kept.pop((source, chunk), None)
            return None
        return _arrays(content, kept)

    def put(self, source: int, chunk: Chunk, arrays: Arrays) -> None:
        """Keep a chunk, if there is room for it."""
        size = sum(values.nbytes for values in arrays.values())
        if self._folder is None or any(values.dtype.hasobject for values in arrays.values()):
            return
        with self._lock:
            if (source, chunk) in self._kept or self.held_bytes + size > self.most_bytes:
                return
            self.held_bytes += size
        kept = self._written(self._folder / uuid.uuid4().hex, arrays, size)
        with self._lock:
            if kept is None:
                self.held_bytes -= size
            else:
                self._kept[source, chunk] = kept

    def close(self) -> None:
        """Delete everything."""
        self._kept = {}
        if self._folder is not None and self._mine is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._mine.release()
            self._folder = None

    def _written(self, file: Path, arrays: Arrays, size: int) -> _Kept | None:
        total = xxhash.xxh3_128()
        try:
            if shutil.disk_usage(file.parent).free - size < LEFT_FREE_BYTES:
                self._tell(f"{file.parent} has little room left")
                return None
            with file.open("xb") as opened:
                for values in arrays.values():
                    flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
                    total.update(flat.data)
                    opened.write(flat.data)
        except OSError as error:
            file.unlink(missing_ok=True)
            self._tell(f"{file}: {error.strerror}")
            return None
        said = tuple((name, values.dtype, values.shape) for name, values in arrays.items())
        return _Kept(file, total.digest(), said)

    def _tell(self, what: str) -> None:
        if not self._said:
            self._said = True
            log.warning("the cache on disk is used no further than it goes: %s", what)


def _arrays(content: npt.NDArray[np.uint8], kept: _Kept) -> Arrays:
    made, start = {}, 0
    for name, kind, shape in kept.arrays:
        stop = start + kind.itemsize * int(np.prod(shape, dtype=np.int64))
        made[name] = (
            content[start:stop].copy().view(kind).reshape(shape)
        )  # a copy, so that each begins where its type may
        start = stop
    return made


def _usual_folder() -> Path:
    return Path(os.environ.get(CACHE) or tempfile.gettempdir()) / f"distill-chunks-{os.getuid()}"


def _begun(above: Path) -> tuple[Path | None, FileLock | None]:
    """A folder of this process's own and its lock; what killed processes left goes. Nothing where
    the disk does not let us."""
    try:
        above.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(above / "lock", timeout=60):  # nobody sweeps while another begins
            _sweep(above)
            folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=above))
            mine = FileLock(folder / "lock")
            mine.acquire(timeout=0)
    except (OSError, Timeout, NotImplementedError) as error:
        log.warning("nothing is cached on disk: %s: %s", above, error)
        return None, None
    return folder, mine


def _sweep(above: Path) -> None:
    for folder in above.iterdir():
        if folder.is_dir():
            lock = FileLock(folder / "lock")
            try:
                lock.acquire(timeout=0)
            except (Timeout, OSError):  # in use, or another user's
                continue
            shutil.rmtree(folder, ignore_errors=True)
            lock.release()
