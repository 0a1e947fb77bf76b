"""Objects behind an fsspec filesystem: s3fs, gcsfs, adlfs, with the credentials, profiles,
endpoints and configuration files that each of them knows.

One filesystem a process, address and job's settings, used by all threads: its requests run on
fsspec's one event loop, and the calling thread waits. Listings are never cached (another worker may
have committed a moment ago), and stream: one page is in memory at a time.

Each store's own class has the methods at the end, one HTTP request each where the store allows it:
coroutines for that loop, or plain ones where the calling thread asks by itself. The clients' own
repetitions are off: they would make the winner of a commit a loser and multiply the waits of
`retry`. Nothing hangs (`transfers`).

**A body is whole or an error.** It has the length that was asked for or announced. A whole object
is held against the digest that its reader has of it (`read(key, is_right)`, as of weights, or of
label data, whose xxh3 a commit names: 0.03 ms a MB), and where the reader has none against the MD5
that the store says of it, up to 1 MiB (every control object; 1.3 ms a MB). Bytes that differ are
read again, and believed when they come the same twice: what a few stores say is no MD5, and what is
damaged in the store itself the reader names. Ranges of a pool's files are held against their length
and version alone, as by every other reader: no store says a digest of a part, TLS holds each record
against its own, and Parquet's pages may have one each.

**A reader** (`open`) asks for no version of an object but the one it opened: a file replaced
meanwhile is an error rather than a mixture of two.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, BinaryIO, ClassVar, TypeVar, cast

import fsspec

from distill.core.errors import MissingExtraError, StorageError
from distill.storage.answers import BrokenBodyError, PreconditionError, answered
from distill.storage.base import (
    CONDITIONAL_LIMIT_BYTES,
    IsRight,
    ObjectMeta,
    ObjectMissingError,
    Storage,
)
from distill.storage.range_reader import Range, RangeReader
from distill.storage.request_counts import count
from distill.storage.settings import options_of
from distill.storage.transfers import LARGEST_BYTES, Threads, result_of

_MOST_READS = 5
"""Of an object whose bytes are not what its digest says."""

Page = tuple[Sequence[ObjectMeta], str | None]
"""Some objects, and what tells the store where to go on; None at the end."""
T = TypeVar("T")
R = TypeVar("R")

Address = tuple[tuple[str, str], ...]
_filesystems: dict[tuple[int, type[RemoteStorage], Address, str], Any] = {}
"""By process, store, address and settings."""
_lock = threading.Lock()


def _filesystem(kind: type[RemoteStorage], address: Address) -> Any:
    """Return the process's filesystem of a store; `address` is what its URIs say beside paths."""
    settings = options_of(kind.scheme)
    # not the parent's after a fork: two processes would share a line. Nor is that thrown away
    # there, for what closes its lines would close the parent's
    key = (os.getpid(), kind, address, repr(settings))
    with _lock:
        if key not in _filesystems:
            _filesystems[key] = kind.connected(**{**dict(address), **settings})
            _filesystems[key].threads = Threads()
        return _filesystems[key]


def forget_filesystems() -> None:
    """Let the next request read the environment again."""
    with _lock:
        forgotten = dict(_filesystems)
        _filesystems.clear()
    for (process, *_), filesystem in forgotten.items():
        if process == os.getpid():
            filesystem.threads.close()


class RemoteStorage(Storage):
    """Objects are keys below `path`, which is `bucket/prefix`."""

    scheme: ClassVar[str]
    package: ClassVar[str]
    extra: ClassVar[str] = ""
    """The package that brings its filesystem, and the extra of distill that brings that."""

    def __init__(self, uri: str) -> None:
        try:
            filesystem_class = self.filesystem_class()
        except ImportError as error:
            purpose = f"{self.scheme}:// storage"
            raise MissingExtraError(self.package, self.extra, purpose) from error
        self.uri = uri
        self.path = filesystem_class._strip_protocol(uri).rstrip("/")
        self._bucket, _, self._prefix = self.path.partition("/")
        self._address = tuple(sorted(filesystem_class._get_kwargs_from_urls(uri).items()))

    @classmethod
    def filesystem_class(cls) -> Any:
        """Return the class of its filesystem. Raises ImportError."""
        return fsspec.get_filesystem_class(cls.scheme)

    @classmethod
    def connected(cls, **options: Any) -> Any:
        """Return a new filesystem of these options."""
        return cls.filesystem_class()(use_listings_cache=False, skip_instance_cache=True, **options)

    def folder(self, *names: str) -> Storage:
        return type(self)("/".join([self.uri, *names]))

    def walk(self) -> Iterator[ObjectMeta]:
        below = f"{self._prefix}/" if self._prefix else ""
        found = False
        token: str | None = ""
        while token is not None:
            page = partial(self._page, below=below, token=token)
            entries, token = self._ask(self.uri, "list", page)
            for entry in entries:
                found = True
                if not entry.key.endswith("/"):  # by such a one a console shows a folder
                    yield replace(entry, key=entry.key.removeprefix(below))
        if not found and self._prefix:
            with suppress(ObjectMissingError):  # the folder may be one object
                yield self.entry(self._own_name)

    def entry(self, key: str) -> ObjectMeta:
        def ask(path: str, where: str) -> Any:
            return self._ask(where, "get", lambda fs: self._info(fs, path))

        found: ObjectMeta = self._found(key, ask)
        return replace(found, key=key)

    def open(self, key: str) -> BinaryIO:
        return self._found(key, self._open)

    def read(self, key: str, is_right: IsRight | None = None) -> bytes:
        content = self._found(key, partial(self._checked, is_right=is_right))
        count("bytes_read", len(content))
        return content

    def put(self, key: str, content: bytes) -> None:
        self._put(key, content, partial(self._write, create=False))

    def create(self, key: str, content: bytes) -> bool:
        tries = 0

        def write(*what: Any) -> Awaitable[None]:
            nonlocal tries
            tries += 1
            return self._write(*what, create=True)

        try:
            self._put(key, content, write)
        except PreconditionError:
            # another's, or this one's own, stored before the line broke
            return tries > 1 and self.read_or_none(key) == content
        return True

    def delete(self, key: str) -> None:
        with suppress(ObjectMissingError):
            path = self._path(key)
            self._ask(self.url(key), "delete", lambda fs: self._remove(fs, path))

    @property
    def _own_name(self) -> str:
        return str(self.path.rpartition("/")[2])

    def _path(self, key: str) -> str:
        return f"{self.path}/{key}"

    def _ask(self, where: str, kind: str, work: Callable[[Any], Any], size_bytes: int = 0) -> Any:
        """Return what `work(filesystem)` comes to in the end; each try counts as a request of
        `kind`, and has time for `size_bytes`."""
        filesystem = _filesystem(type(self), self._address)

        def ask() -> Any:
            count(kind)
            return result_of(filesystem, work(filesystem), size_bytes)

        try:
            return answered(where, ask)
        except ObjectMissingError as error:
            if kind not in ("list", "put"):
                raise
            raise StorageError(f"{self.uri}: {self._no_place()}") from error

    def _no_place(self) -> str:
        return (
            f"there is no such bucket or container, {self._bucket!r}. Make it, or correct the"
            " address."
        )

    def _ask_for_each(self, where: str, items: Sequence[T], work: Callable[[Any, T], R]) -> list[R]:
        """Return what `work(filesystem, item)` returns for each, all asked at once; after a fault
        those alone that have not come are asked for again."""
        found: dict[T, R] = {}

        def ask(fs: Any, item: T) -> None:
            found[item] = work(fs, item)

        def ask_for_missing(fs: Any) -> None:
            missing = [item for item in items if item not in found]
            count("get", len(missing) - 1)  # one request was counted for the call
            fs.threads.run([partial(ask, fs, item) for item in missing])

        self._ask(where, "get", ask_for_missing)
        return [found[item] for item in items]

    def _found(self, key: str, get: Callable[[str, str], T]) -> T:
        """Return `get(path, where)` of the object, which may be this folder itself."""
        try:
            return get(self._path(key), self.url(key))
        except ObjectMissingError:
            if key != self._own_name:
                raise
            return get(self.path, self.uri)

    def _checked(self, path: str, where: str, is_right: IsRight | None = None) -> bytes:
        """Read a whole object, and again where it is not what its digest says."""
        content: bytes
        before = None
        for _ in range(_MOST_READS):
            content, md5 = self._ask(where, "get", lambda fs: self._whole(fs, path), LARGEST_BYTES)
            is_as_stored = partial(_is_as_stored, md5=md5)
            if (is_right or is_as_stored)(content) or content == before:
                return content
            before = content
        raise StorageError(
            f"{where}: each of {_MOST_READS} reads gave other bytes, none of which the store means."
            " Mend the way to the store, then run the same command again."
        )

    def _open(self, path: str, where: str) -> BinaryIO:
        size_bytes, token, tail = self._ask(where, "get", lambda fs: self._end(fs, path))
        count("bytes_read", len(tail))
        fetch = partial(self._fetch_many, path, where, token)
        return cast("BinaryIO", RangeReader(fetch, size_bytes, tail))

    def _fetch_many(
        self, path: str, where: str, token: str, ranges: Sequence[Range]
    ) -> list[bytes]:
        size_bytes = sum(stop - start for start, stop in ranges)

        def fetch(fs: Any, each: Range) -> bytes:
            start, stop = each
            content: bytes = result_of(fs, self._fetch(fs, path, start, stop, token), size_bytes)
            if len(content) != stop - start:
                raise BrokenBodyError(f"{len(content):,} bytes of {stop - start:,} came")
            count("bytes_read", len(content))
            return content

        return self._ask_for_each(where, ranges, fetch)

    def _put(self, key: str, content: bytes, write: Callable[..., Awaitable[None]]) -> None:
        path = self._path(key)
        self._ask(self.url(key), "put", lambda fs: write(fs, path, content), len(content))
        count("bytes_written", len(content))

    async def _page(self, fs: Any, below: str, token: str) -> Page:
        """Return up to 1,000 objects whose keys (in the bucket) begin with `below`; the first
        page's token is empty."""
        raise NotImplementedError

    def _info(self, fs: Any, path: str) -> Any:
        """Return what a listing says of an object; its key does not matter."""
        raise NotImplementedError

    def _end(self, fs: Any, path: str) -> Any:
        """Return an object's size, its token, and as many of its last bytes as cost no request."""
        entry = result_of(fs, self._info(fs, path))
        return entry.size_bytes, entry.token, b""

    def _fetch(self, fs: Any, path: str, start: int, stop: int, token: str) -> Any:
        """Return these bytes of the version `token` of an object."""
        raise NotImplementedError

    def _whole(self, fs: Any, path: str) -> Any:
        """Return a whole object, and its MD5 in hex where the store says one."""
        raise NotImplementedError

    async def _write(self, fs: Any, path: str, content: bytes, *, create: bool) -> None:
        """Write a whole object; with `create` a FileExistsError or 412 says that one is there."""
        await fs._pipe_file(path, content, mode="create" if create else "overwrite")

    async def _remove(self, fs: Any, path: str) -> None:
        await fs._rm_file(path)


def _is_as_stored(content: bytes, md5: str) -> bool:
    """Whether it has the MD5 that the store says, where it says one and that costs nothing."""
    if not md5 or len(content) > CONDITIONAL_LIMIT_BYTES:
        return True
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == md5
