"""What every store can do, and the part of it that is the same for all."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from distill.core.errors import StorageError

CONDITIONAL_LIMIT_BYTES = 1 << 20
"""Stores ignore the condition of multipart uploads, so larger objects are never written
conditionally."""

IsRight = Callable[[bytes], bool]


@dataclass
class HasSha256:
    """Says whether bytes have a sha256 (hex), for `Storage.read` and for its caller, who names what
    is wrong; what was right is not hashed a second time."""

    sha256: str
    _right: bytes | None = None

    def __call__(self, content: bytes) -> bool:
        if content is self._right:
            return True
        is_right = hashlib.sha256(content).hexdigest() == self.sha256
        self._right = content if is_right else self._right
        return is_right


class ObjectMissingError(StorageError):
    """No object lies under the key."""

    def __init__(self, url: str) -> None:
        super().__init__(url)  # from which a worker's is made again
        self.url = url

    def __str__(self) -> str:
        return f"{self.url} is not there. Restore it from a copy, or run the same command again."


class NotImplementedByStoreError(StorageError):
    """The store does not know the request."""


@dataclass(frozen=True)
class ObjectMeta:
    """One object of a listing. `token` changes when the object does (ETag; local: mtime in ns)."""

    key: str
    size_bytes: int
    token: str


class Storage(ABC):
    """A folder of objects at `uri`."""

    uri: str

    @abstractmethod
    def folder(self, *names: str) -> Storage:
        """Return the folder below this one."""

    def pinned(self) -> Storage:
        """Return the folder as it is now, for good, where its address may come to mean another;
        elsewhere itself. Raises StorageError."""
        return self

    @abstractmethod
    def walk(self) -> Iterator[ObjectMeta]:
        """List all objects at or below this folder, in no order; the folder may be one object
        itself."""

    @abstractmethod
    def entry(self, key: str) -> ObjectMeta:
        """Return what a listing says of one object. Raises ObjectMissingError."""

    @abstractmethod
    def open(self, key: str) -> BinaryIO:
        """Open a seekable reader. Raises ObjectMissingError."""

    @abstractmethod
    def put(self, key: str, content: bytes) -> None:
        """Write a whole object, durable when this returns. The key must be the writer's own."""

    @abstractmethod
    def create(self, key: str, content: bytes) -> bool:
        """Atomically write unless an object is there; False says that one is, or may be."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; none there is no error."""

    def url(self, key: str) -> str:
        """Return the object's full address, as messages show it."""
        return f"{self.uri}/{key}"

    def read(self, key: str, is_right: IsRight | None = None) -> bytes:  # noqa: ARG002
        """Read the whole object. `is_right` says whether bytes are those that the caller has a
        digest of; where a line has damaged them, a store is asked again. What is wrong each time is
        returned, for the caller names it. Raises ObjectMissingError."""
        with self.open(key) as file:
            return file.read()

    def read_or_none(self, key: str, is_right: IsRight | None = None) -> bytes | None:
        """Read the whole object as `read` does; None where there is none."""
        try:
            return self.read(key, is_right)
        except ObjectMissingError:
            return None

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Write unless an object is there. True exactly if the object under `key` is now `content`.

        Raises StorageError over `CONDITIONAL_LIMIT_BYTES`.
        """
        if len(content) > CONDITIONAL_LIMIT_BYTES:
            raise StorageError(
                f"{self.url(key)}: {len(content):,} bytes are too many for a conditional put,"
                " which stores ignore on large objects. Nothing that distill writes so should be as"
                " large: this is a mistake of its own; please report it."
            )
        return self.create(key, content) or self.read_or_none(key) == content

    def list_objects(self) -> list[ObjectMeta]:
        """List all objects below this folder, sorted by key."""
        return sorted(self.walk(), key=lambda entry: entry.key)


def is_hidden(key: str) -> bool:
    """Whether the object, or a folder of its, is named `_*` or `.*`."""
    return any(part.startswith(("_", ".")) for part in key.split("/"))
