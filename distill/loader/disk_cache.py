"""Decoded chunks on this machine's disk, for pools and label sets that lie elsewhere: a later epoch
reads them here.

    <folder>/<one a process>/lock  0  1  2 …

The folder is `distill-chunks-<user>` below `DISTILL_CACHE`, or else where this machine keeps
temporary files (`TMPDIR`). A file is the bytes of a chunk's arrays, end to end. The process holds
the lock of its own folder; a folder whose lock nobody holds was left by a process that was killed,
and the next one deletes it.

It never fails a training: a disk that is full, or a file that is gone or damaged, is logged once,
and the chunk is read from where it came from.
"""

from __future__ import annotations

import contextlib
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
class _ChunkFile:
    """One chunk's file: its path, its size, its digest, and name, type and shape of each array."""

    path: Path
    size_bytes: int
    xxh3: bytes
    arrays: tuple[tuple[str, np.dtype[np.generic], tuple[int, ...]], ...]


class DiskCache:
    """Chunks of the datasets of one process, up to so many bytes together. For many threads."""

    def __init__(self, most_bytes: int, folder: Path | None = None) -> None:
        self.most_bytes = most_bytes
        self.used_bytes = 0
        self._files: dict[tuple[int, Chunk], _ChunkFile] = {}
        self._lock = threading.Lock()
        self._warned = False
        self._own = _make_own_folder(folder or _default_folder())

    def get(self, dataset: int, chunk: Chunk) -> Arrays | None:
        """Return the arrays of one chunk of the process's `dataset`; None where they are not
        here."""
        file = self._files.get((dataset, chunk))
        if file is None:
            return None
        try:
            content = np.fromfile(file.path, np.uint8)
        except OSError as error:
            content = np.empty(0, np.uint8)
            self._warn_once(f"{file.path}: {error.strerror}")
        # this process alone keeps the digests, so no file is believed for what it says
        if xxhash.xxh3_128_digest(content.data) != file.xxh3:
            self._warn_once(f"{file.path} is not what was written")
            # so that it is read from where it came from, and written anew
            self._drop(dataset, chunk, file)
            return None
        return _arrays(content, file)

    def put(self, dataset: int, chunk: Chunk, arrays: Arrays) -> None:
        """Keep a chunk, if there is room for it."""
        # of text that is not hashed a file would have to hold pickles
        has_objects = any(values.dtype.hasobject for values in arrays.values())
        if self._own is None or has_objects:
            return
        size = sum(values.nbytes for values in arrays.values())
        with self._lock:
            is_known = (dataset, chunk) in self._files
            if is_known or self.used_bytes + size > self.most_bytes:
                return
            # before it is written: other threads write meanwhile
            self.used_bytes += size
        file = self._write(self._own.folder / uuid.uuid4().hex, arrays, size)
        with self._lock:
            if file is None:
                self.used_bytes -= size
            else:
                self._files[dataset, chunk] = file

    def close(self) -> None:
        """Delete everything."""
        self._files.clear()
        if self._own is not None:
            shutil.rmtree(self._own.folder, ignore_errors=True)
            self._own.lock.release()
            self._own = None

    def _drop(self, dataset: int, chunk: Chunk, file: _ChunkFile) -> None:
        """Forget a file, and free its room."""
        with self._lock:
            # another thread may have found the same damage, and a third written the chunk anew
            if self._files.get((dataset, chunk)) is not file:
                return
            del self._files[dataset, chunk]
            self.used_bytes -= file.size_bytes
        with contextlib.suppress(OSError):
            file.path.unlink()

    def _write(self, path: Path, arrays: Arrays, size: int) -> _ChunkFile | None:
        """Write a chunk's file; None where the disk does not let us."""
        digest = xxhash.xxh3_128()
        try:
            if shutil.disk_usage(path.parent).free - size < LEFT_FREE_BYTES:
                self._warn_once(f"{path.parent} has little room left")
                return None
            # no name twice: a file that another thread reads is never written again
            with path.open("xb") as opened:
                for values in arrays.values():
                    flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
                    digest.update(flat.data)
                    opened.write(flat.data)
        except OSError as error:
            path.unlink(missing_ok=True)
            self._warn_once(f"{path}: {error.strerror}")
            return None
        shapes = [(name, values.dtype, values.shape) for name, values in arrays.items()]
        return _ChunkFile(path, size, digest.digest(), tuple(shapes))

    def _warn_once(self, problem: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning("the cache on disk is used no further than it goes: %s", problem)


def _arrays(content: npt.NDArray[np.uint8], file: _ChunkFile) -> Arrays:
    arrays: Arrays = {}
    start = 0
    for name, dtype, shape in file.arrays:
        stop = start + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        # a copy, so that each array begins where its type may
        arrays[name] = content[start:stop].copy().view(dtype).reshape(shape)
        start = stop
    return arrays


@dataclass(frozen=True)
class _OwnFolder:
    """The folder of this process, and the lock that says that the process lives."""

    folder: Path
    lock: FileLock


def _default_folder() -> Path:
    base = os.environ.get(CACHE) or tempfile.gettempdir()
    return Path(base) / f"distill-chunks-{os.getuid()}"


def _make_own_folder(parent: Path) -> _OwnFolder | None:
    """Make a folder of this process's own, and delete what killed processes left; None where the
    disk does not let us."""
    try:
        # the user's alone, since temporary folders are everybody's and labels need not be
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # nobody deletes while another process has a folder and no lock yet
        with FileLock(parent / "lock", timeout=60):
            _delete_abandoned(parent)
            folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
            path = folder / "lock"
            lock = FileLock(path)
            lock.acquire(timeout=0)
    except (OSError, Timeout, NotImplementedError) as error:
        log.warning("nothing is cached on disk: %s: %s", parent, error)
        return None
    return _OwnFolder(folder, lock)


def _delete_abandoned(parent: Path) -> None:
    """Delete the folders whose lock nobody holds."""
    for folder in parent.iterdir():
        if not folder.is_dir():
            continue
        path = folder / "lock"
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):  # in use, or another user's
            continue
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
