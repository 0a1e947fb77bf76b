"""A folder on this machine's disk.

The conditional put is a temporary file, fsync, `os.link` to the final name, fsync of the folder:
`O_EXCL` on the final name would leave an empty object for ever after a kill. Temporary files start
with `.distill-` and never appear in a listing; a write that fails takes its own away, so that a
full disk does not stay full of halves. A disk is not asked again: what it refuses, it goes on
refusing.
"""

from __future__ import annotations

import errno
import io
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from distill.core.errors import StorageError
from distill.storage.base import IsRight, ObjectMeta, ObjectMissingError, Storage
from distill.storage.request_counts import count

_TEMPORARY = ".distill-"
_PAGE_ENTRIES = 1000
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
_LINKS = "A root needs hard links, by which commits are made; use another root."
_ADVICE = {
    errno.ENOSPC: "Make room there, then run the same command again; or write elsewhere.",
    errno.EDQUOT: (
        "Raise the quota or make room, then run the same command again; or write elsewhere."
    ),
    errno.EROFS: "Mount it for writing, or write elsewhere.",
    errno.EACCES: "Give yourself the right to write there, or write elsewhere.",
}


class LocalStorage(Storage):
    """Objects are files below `path`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()
        self.uri = str(self.path)

    def folder(self, *names: str) -> LocalStorage:
        return LocalStorage(self.path.joinpath(*names))

    def walk(self) -> Iterator[ObjectMeta]:
        count("list")
        for number, entry in enumerate(self._entries(), 1):
            yield entry
            if number % _PAGE_ENTRIES == 0:
                count("list")

    def _entries(self) -> Iterator[ObjectMeta]:
        if self.path.is_file():
            yield _entry(self.path, self.path.name)
            return
        above = len(str(self.path)) + 1
        for folder, _, names in os.walk(self.path, onerror=_refuse, followlinks=True):
            for name in names:
                if name.startswith(_TEMPORARY):
                    continue
                file = f"{folder}/{name}"
                try:
                    yield _entry(file, file[above:])
                except OSError as error:
                    # a file that is gone was deleted meanwhile; a link that leads nowhere is wrong
                    if os.path.islink(file) or not isinstance(error, FileNotFoundError):
                        raise _refusal(error, file) from None

    def entry(self, key: str) -> ObjectMeta:
        count("get")
        with self._reading(key) as file:
            return _entry(file, key)

    def open(self, key: str) -> BinaryIO:
        with self._reading(key) as file:
            return cast("BinaryIO", io.BufferedReader(_Counted(file)))

    def read(self, key: str, is_right: IsRight | None = None) -> bytes:  # noqa: ARG002
        with self._reading(key), self.open(key) as file:
            return file.read()

    @contextmanager
    def _reading(self, key: str) -> Iterator[Path]:
        """Where an object lies; the folder may be one object itself."""
        is_itself = key == self.path.name and self.path.is_file()
        try:
            yield self.path if is_itself else self.path / key
        except (FileNotFoundError, NotADirectoryError):
            raise ObjectMissingError(self.url(key)) from None
        except OSError as error:
            raise _refusal(error, self.url(key)) from error

    def put(self, key: str, content: bytes) -> None:
        with self._writing(key, content) as temporary:
            temporary.replace(self.path / key)

    def create(self, key: str, content: bytes) -> bool:
        with self._writing(key, content) as temporary:
            try:
                os.link(temporary, self.path / key)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                raise self._unwritten(key, error, _LINKS) from error
        return True

    def delete(self, key: str) -> None:
        count("delete")
        with suppress(ObjectMissingError), self._reading(key):
            (self.path / key).unlink()

    def url(self, key: str) -> str:
        is_itself = key == self.path.name and os.path.isfile(self.path)
        return self.uri if is_itself else super().url(key)

    @contextmanager
    def _writing(self, key: str, content: bytes) -> Iterator[Path]:
        """A durable temporary file beside the key's, which is made durable under its name
        afterwards. Whatever fails, it goes."""
        folder = (self.path / key).parent
        temporary = folder / f"{_TEMPORARY}{uuid.uuid4().hex}"
        count("put")
        try:
            try:
                _make_folder(folder)
                with temporary.open("wb") as opened:
                    opened.write(content)
                    opened.flush()
                    os.fsync(opened.fileno())
                yield temporary
            finally:
                temporary.unlink(missing_ok=True)
            _sync(folder)
        except OSError as error:
            advice = _ADVICE.get(error.errno or 0, "Mend that, or write elsewhere.")
            raise self._unwritten(key, error, advice) from error
        count("bytes_written", len(content))

    def _unwritten(self, key: str, error: OSError, advice: str) -> StorageError:
        return StorageError(f"{self.url(key)} cannot be written: {error.strerror}. {advice}")


class _Counted(io.FileIO):
    """A file whose bytes count as read."""

    def __init__(self, file: Path) -> None:
        count("get")
        super().__init__(file, "rb")

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]
        size_bytes = super().readinto(buffer)
        count("bytes_read", size_bytes or 0)
        return size_bytes

    def readall(self) -> bytes:
        content = super().readall()
        count("bytes_read", len(content))
        return content


def _entry(file: Path | str, key: str) -> ObjectMeta:
    status = os.stat(file)
    return ObjectMeta(key, status.st_size, str(status.st_mtime_ns))


def _refuse(error: OSError) -> None:
    """A folder that cannot be listed is an error, not an empty folder; one that is not there holds
    nothing."""
    if not isinstance(error, FileNotFoundError):
        raise _refusal(error, error.filename)


def _refusal(error: OSError, where: str) -> StorageError:
    return StorageError(
        f"{where}: {error.strerror}."
        " Mend the disk, the link or the permissions, or take it out of the folder."
    )


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, each durable: a commit in a folder that a power cut forgets is
    no commit."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
