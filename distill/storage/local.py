"""A folder on this machine's disk.

The conditional put is a temporary file, fsync, `os.link` to the final name, fsync of the folder: `O_EXCL` on the final name would
leave an empty object for ever after a kill. Temporary files start with `.distill-` and never appear in a listing.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from distill.errors import StorageError
from distill.storage.base import Entry, ObjectMissingError, Storage

_TEMPORARY = ".distill-"


class LocalStorage(Storage):
    """Objects are files below `path`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()
        self.uri = str(self.path)

    def folder(self, *names: str) -> LocalStorage:
        return LocalStorage(self.path.joinpath(*names))

    def walk(self) -> Iterator[Entry]:
        if self.path.is_file():
            yield self._entry(self.path, self.path.name)
            return
        for folder, _, names in os.walk(self.path, onerror=_refuse, followlinks=True):
            for name in names:
                if not name.startswith(_TEMPORARY):
                    file = Path(folder, name)
                    try:
                        yield self._entry(file, file.relative_to(self.path).as_posix())
                    except OSError as error:
                        if file.is_symlink() or not isinstance(error, FileNotFoundError):
                            raise _told(error) from None

    def open(self, key: str) -> BinaryIO:
        file = self.path if self.path.is_file() and key == self.path.name else self.path / key
        try:
            return file.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            raise ObjectMissingError(self.url(key)) from None
        except OSError as error:
            raise _told(error) from error

    def put(self, key: str, content: bytes) -> None:
        try:
            temporary, final = self._write(key, content)
            temporary.replace(final)
            _sync(final.parent)
        except OSError as error:
            raise StorageError(
                f"{self.url(key)} cannot be written: {error.strerror}. Mend that, or use another root."
            ) from error

    def create(self, key: str, content: bytes) -> bool:
        try:
            return self._link(*self._write(key, content))
        except OSError as error:
            said = f"{self.url(key)} cannot be written: {error.strerror}. A root needs hard links, by which commits are made; "
            raise StorageError(said + "mend that, or use another root.") from error

    def delete(self, key: str) -> None:
        (self.path / key).unlink(missing_ok=True)

    @staticmethod
    def _link(temporary: Path, final: Path) -> bool:
        try:
            os.link(temporary, final)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        _sync(final.parent)
        return True

    def _write(self, key: str, content: bytes) -> tuple[Path, Path]:
        final = self.path / key
        _make_folder(final.parent)
        temporary = final.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return temporary, final

    @staticmethod
    def _entry(file: Path, key: str) -> Entry:
        status = file.stat()
        return Entry(key, status.st_size, str(status.st_mtime_ns))


def _refuse(error: OSError) -> None:
    """A folder that cannot be listed is an error, not an empty folder; one that is not there holds nothing."""
    if not isinstance(error, FileNotFoundError):
        raise _told(error)


def _told(error: OSError) -> StorageError:
    return StorageError(
        f"{error.filename}: {error.strerror}. Mend the link or the permissions, or take it out of the folder."
    )


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, each durable: a commit in a folder that a power cut forgets is no commit."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
