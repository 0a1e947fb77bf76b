"""Objects behind an fsspec filesystem: s3fs, gcsfs, adlfs, with the credentials, profiles,
endpoints and configuration files that each of them knows.

One filesystem a process, address and job's settings, used by all threads: its requests run on
fsspec's one event loop, and the calling thread waits. Listings are never cached (another worker may
have committed a moment ago), and stream: one page is in memory at a time.

Each store's own class (`s3`, `gcs`, `azure`) has the coroutines `_page`, `_info`, `_end`, `_fetch`,
`_whole`, `_write` and `_remove`, one HTTP request each where the store allows it. The clients' own
repetitions are off: they would make the winner of a commit a loser (ENGINE_NOTES) and multiply the
waits of `retry`, the one place that asks again. Nothing hangs: lines have time-outs, and a request
that moves less than `SLOWEST_BYTES_PER_SECOND` is given up.

**Conditional put.** A lost race after an unanswered request may be this writer's own object, stored
before the line broke, so the object is read and compared.

**A body is whole or an error.** Its length is compared with what the store announced, and one that
trickles below `SLOWEST_BYTES_PER_SECOND` is given up and asked for again. A whole object of at most
1 MiB (every control object) is also compared with the MD5 that the store says of it: bytes that
differ are read again, and believed when they come the same twice, since what a few stores say is no
MD5. Larger objects carry digests of their own in commits; a pool's Parquet pages may.

**A reader** (`open`) knows the object's version, and asks for no other: a file replaced meanwhile
is an error rather than a mixture of two. `RangeReader.prefetch` fetches many ranges at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import suppress
from dataclasses import replace
from typing import Any, BinaryIO, ClassVar, TypeVar, cast

import fsspec
from fsspec.asyn import sync

from distill.core.errors import MissingExtraError, StorageError
from distill.storage.answers import BrokenBodyError, PreconditionError, answered
from distill.storage.base import CONDITIONAL_LIMIT_BYTES, ObjectMeta, ObjectMissingError, Storage
from distill.storage.range_reader import Range, RangeReader
from distill.storage.request_counts import count
from distill.storage.settings import options_of

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
"""Of silence on a line."""
PATIENCE_SECONDS = 30.0
SLOWEST_BYTES_PER_SECOND = 32_000
_PIECE_BYTES = 1 << 20
_LARGEST_BYTES = 64 << 20
"""What a whole object of unknown size may hold, where its time is limited."""

T = TypeVar("T")

_filesystems: dict[tuple[object, ...], Any] = {}
_lock = threading.Lock()


def _filesystem(kind: type[RemoteStorage], address: tuple[tuple[str, str], ...]) -> Any:
    """Return the process's filesystem of a store; `address` is what its URIs say beside paths."""
    settings = options_of(kind.scheme)
    # not the parent's after a fork: two processes would share a line. Nor is that thrown away
    # there, for what closes its lines would close the parent's
    key = (os.getpid(), kind, address, repr(settings))
    with _lock:
        if key not in _filesystems:
            options = {
                "use_listings_cache": False,
                "skip_instance_cache": True,
                **dict(address),
                **kind.options(settings),
            }
            _filesystems[key] = kind.filesystem_class()(**options)
            kind.prepare(_filesystems[key])
        return _filesystems[key]


def forget_filesystems() -> None:
    """Let the next request read the environment again."""
    with _lock:
        _filesystems.clear()


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
    def options(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the filesystem is made with, where a job says `settings`."""
        return dict(settings)

    @classmethod
    def prepare(cls, filesystem: Any) -> None:
        """Change a new filesystem."""

    def folder(self, *names: str) -> Storage:
        return type(self)("/".join([self.uri, *names]))

    def walk(self) -> Iterator[ObjectMeta]:
        below = f"{self._prefix}/" if self._prefix else ""
        found = False
        token: str | None = ""
        while token is not None:
            entries, token = self._list_page(below, token)
            for entry in entries:
                found = True
                if not entry.key.endswith("/"):  # by such a one a console shows a folder
                    yield replace(entry, key=entry.key.removeprefix(below))
        if not found and self._prefix:
            with suppress(ObjectMissingError):  # the folder may be one object
                yield self.entry(self._own_name)

    def entry(self, key: str) -> ObjectMeta:
        def ask(path: str, where: str) -> ObjectMeta:
            found = self._ask(where, "get", lambda fs: self._info(fs, path))
            return replace(found, key=key)

        return self._found(key, ask)

    def open(self, key: str) -> BinaryIO:
        return self._found(key, self._open)

    def read(self, key: str) -> bytes:
        def ask(path: str, where: str) -> bytes:
            return self._ask(where, "get", lambda fs: self._checked(fs, path), _LARGEST_BYTES)

        content = self._found(key, ask)
        count("bytes_read", len(content))
        return content

    def put(self, key: str, content: bytes) -> None:
        self._put(key, content, lambda fs: self._write(fs, self._path(key), content, create=False))

    def create(self, key: str, content: bytes) -> bool:
        tries = 0

        async def write(fs: Any) -> None:
            nonlocal tries
            tries += 1
            await self._write(fs, self._path(key), content, create=True)

        try:
            self._put(key, content, write)
        except PreconditionError:
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

    def _ask(
        self, where: str, kind: str, work: Callable[[Any], Awaitable[T]], size_bytes: int = 0
    ) -> T:
        """Return what `work(filesystem)` returns in the end; each try counts as a request of
        `kind`, and has time for `size_bytes`."""
        filesystem = _filesystem(type(self), self._address)
        limit_seconds = PATIENCE_SECONDS + size_bytes / SLOWEST_BYTES_PER_SECOND

        async def within_limit() -> tuple[T]:
            return (await asyncio.wait_for(work(filesystem), limit_seconds),)

        def ask() -> T:
            count(kind)
            boxed = sync(filesystem.loop, within_limit)
            if boxed is None:  # what fsspec makes of a request that somebody cancelled
                raise BrokenBodyError("the request was cancelled")
            return cast("tuple[T]", boxed)[0]

        return answered(where, ask)

    def _list_page(self, below: str, token: str) -> tuple[Sequence[ObjectMeta], str | None]:
        try:
            return self._ask(self.uri, "list", lambda fs: self._page(fs, below, token))
        except ObjectMissingError as error:
            raise self._no_bucket() from error

    def _no_bucket(self) -> StorageError:
        return StorageError(
            f"{self.uri}: there is no such bucket or container, {self._bucket!r}. Make it, or"
            " correct the address."
        )

    def _found(self, key: str, get: Callable[[str, str], T]) -> T:
        """Return `get(path, where)` of the object, which may be this folder itself."""
        try:
            return get(self._path(key), self.url(key))
        except ObjectMissingError:
            if key != self._own_name:
                raise
            return get(self.path, self.uri)

    def _open(self, path: str, where: str) -> BinaryIO:
        size_bytes, token, tail = self._ask(where, "get", lambda fs: self._end(fs, path))
        count("bytes_read", len(tail))

        def fetch(ranges: Sequence[Range]) -> list[bytes]:
            return self._fetch_many(path, where, ranges, token)

        return cast("BinaryIO", RangeReader(fetch, size_bytes, tail))

    def _fetch_many(
        self, path: str, where: str, ranges: Sequence[Range], token: str
    ) -> list[bytes]:
        """Fetch ranges at once; after a fault those alone that have not come."""
        contents: dict[Range, bytes] = {}

        async def fetch(fs: Any, start: int, stop: int) -> None:
            content = await self._fetch(fs, path, start, stop, token)
            if len(content) != stop - start:
                raise BrokenBodyError(f"{len(content):,} bytes of {stop - start:,} came")
            count("bytes_read", len(content))
            contents[start, stop] = content

        async def work(fs: Any) -> None:
            missing = [each for each in ranges if each not in contents]
            # one request was counted for the call
            count("get", len(missing) - 1)
            await in_parallel(fetch(fs, start, stop) for start, stop in missing)

        size_bytes = sum(stop - start for start, stop in ranges)
        self._ask(where, "get", work, size_bytes)
        return [contents[each] for each in ranges]

    def _put(self, key: str, content: bytes, write: Callable[[Any], Awaitable[None]]) -> None:
        try:
            self._ask(self.url(key), "put", write, len(content))
        except ObjectMissingError as error:
            raise self._no_bucket() from error
        count("bytes_written", len(content))

    async def _page(
        self, fs: Any, below: str, token: str
    ) -> tuple[Sequence[ObjectMeta], str | None]:
        """Return up to 1,000 objects whose keys (in the bucket) begin with `below`, and the token
        of the next page; the first one's is empty, after the last comes None."""
        raise NotImplementedError

    async def _info(self, fs: Any, path: str) -> ObjectMeta:
        """Return what a listing says of an object; its key does not matter."""
        raise NotImplementedError

    async def _end(self, fs: Any, path: str) -> tuple[int, str, bytes]:
        """Return an object's size, its token, and as many of its last bytes as cost no request."""
        entry = await self._info(fs, path)
        return entry.size_bytes, entry.token, b""

    async def _fetch(self, fs: Any, path: str, start: int, stop: int, token: str) -> bytes:
        """Return these bytes of the version `token` of an object."""
        raise NotImplementedError

    async def _whole(self, fs: Any, path: str) -> tuple[bytes, str]:
        """Return a whole object, and its MD5 in hex where the store says one."""
        raise NotImplementedError

    async def _checked(self, fs: Any, path: str) -> bytes:
        content, md5 = await self._whole(fs, path)
        is_small = len(content) <= CONDITIONAL_LIMIT_BYTES
        if md5 and is_small and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            count("get")
            again, _ = await self._whole(fs, path)
            if again != content:
                digest = hashlib.sha256(content).hexdigest()
                raise BrokenBodyError(f"two reads differ: {digest[:12]}")
        return content

    async def _write(self, fs: Any, path: str, content: bytes, *, create: bool) -> None:
        """Write a whole object; with `create` a FileExistsError or 412 says that one is there."""
        await fs._pipe_file(path, content, mode="create" if create else "overwrite")

    async def _remove(self, fs: Any, path: str) -> None:
        await fs._rm_file(path)


async def in_parallel(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all at once, to the end. Raises the first error."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if result is not None:
            raise result


async def whole_body(stream: Any, announced: int | None) -> bytes:
    """Return the whole body of an answer, of `announced` bytes where it says. Raises
    BrokenBodyError where it breaks off, or comes too slowly."""
    began = time.monotonic()
    pieces = []
    read_bytes = 0
    # it gives what has come, so that a trickle is seen
    while piece := await stream.read(_PIECE_BYTES):
        pieces.append(piece)
        read_bytes += len(piece)
        seconds = time.monotonic() - began
        if seconds > PATIENCE_SECONDS + read_bytes / SLOWEST_BYTES_PER_SECOND:
            raise BrokenBodyError(
                f"{read_bytes:,} of {announced or 0:,} bytes came in {seconds:.0f} s"
            )
    if announced is not None and read_bytes != announced:
        raise BrokenBodyError(f"the body broke off after {read_bytes:,} of {announced:,} bytes")
    # a body of one piece is not copied
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
