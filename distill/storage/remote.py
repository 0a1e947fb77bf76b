"""Objects behind an fsspec filesystem: s3fs, gcsfs, adlfs, with the credentials, profiles,
endpoints and configuration files that each of them knows.

One filesystem a process and address, used by all threads: its requests run on fsspec's one event
loop, and the calling thread waits. It does not survive a fork (two processes would share a line);
the child makes its own. Listings are never cached: another worker may have committed a moment ago.

What a store cannot do through fsspec alone, its own class does: `s3`, `gcs`, `azure`. Their parts
are the coroutines `_info`, `_end`, `_fetch`, `_whole` and `_write`, each one request where the
store allows it. They are asked again in one place (`answers.answered`).

**Conditional put.** A lost race after an unanswered request may be this writer's own object, stored
before the line broke, so the object is read and compared.

**A reader** (`open`) knows the object's version, and asks for no other: a file replaced meanwhile
is an error rather than a mixture of two. `RangeReader.prefetch` fetches many ranges at once.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, ClassVar, TypeVar, cast

import fsspec
from fsspec.asyn import sync

from distill.core.errors import MissingExtraError
from distill.storage.answers import BrokenBodyError, PreconditionError, answered
from distill.storage.base import ObjectMeta, ObjectMissingError, Storage
from distill.storage.range_reader import Range, RangeReader
from distill.storage.request_counts import count

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
"""Of silence on a line."""

T = TypeVar("T")


@functools.cache
def _filesystem(kind: type[RemoteStorage], address: tuple[tuple[str, str], ...]) -> Any:
    """Return the process's filesystem of a store; `address` is what its URIs say beside paths."""
    said: dict[str, dict[str, Any]] = {}
    # fsspec itself reads them once, when it is loaded
    fsspec.config.set_conf_env(said)
    options = {
        **said.get(kind.scheme, {}),
        "use_listings_cache": False,
        "skip_instance_cache": True,
        **kind.options(),
    }
    filesystem = kind.filesystem_class()(**options, **dict(address))
    kind.prepare(filesystem)
    return filesystem


forget_filesystems = _filesystem.cache_clear
"""Let the next request read the environment again."""
os.register_at_fork(after_in_child=forget_filesystems)


class RemoteStorage(Storage):
    """Objects are keys below `path`, which is `bucket/prefix`."""

    scheme: ClassVar[str]
    package: ClassVar[str]
    extra: ClassVar[str] = ""
    """The package that brings its filesystem, and the extra of distill that brings that."""
    tokens: ClassVar[Sequence[str]]
    """The first of these that a listing gives changes when the object does."""

    def __init__(self, uri: str) -> None:
        try:
            filesystem_class = self.filesystem_class()
        except ImportError as error:
            raise MissingExtraError(
                self.package, self.extra, f"{self.scheme}:// storage"
            ) from error
        self.uri = uri
        self.path = filesystem_class._strip_protocol(uri).rstrip("/")
        self._address = tuple(sorted(filesystem_class._get_kwargs_from_urls(uri).items()))

    @classmethod
    def filesystem_class(cls) -> Any:
        """Return the class of its filesystem. Raises ImportError."""
        return fsspec.get_filesystem_class(cls.scheme)

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Return what the filesystem is made with."""
        return {}

    @classmethod
    def prepare(cls, filesystem: Any) -> None:
        """Change a new filesystem."""

    def folder(self, *names: str) -> Storage:
        return type(self)("/".join([self.uri, *names]))

    def walk(self) -> Iterator[ObjectMeta]:
        found: Mapping[str, Any] = {}
        with suppress(ObjectMissingError):
            found = self._ask(self.uri, "list", self._list)
        for name, info in found.items():
            if info["type"] == "file" and not name.endswith("/"):
                key = name.removeprefix(f"{self.path}/") if name != self.path else self._own_name
                yield self._meta(key, info)

    def entry(self, key: str) -> ObjectMeta:
        return self._found(
            key, lambda path, where: self._ask(where, "get", lambda: self._info(path, key))
        )

    def open(self, key: str) -> BinaryIO:
        return self._found(key, self._open)

    def read(self, key: str) -> bytes:
        return self._found(
            key, lambda path, where: self._ask(where, "get", lambda: self._whole(path))
        )

    def put(self, key: str, content: bytes) -> None:
        self._put(key, content, create=False)

    def create(self, key: str, content: bytes) -> bool:
        tries = 0

        async def write() -> None:
            nonlocal tries
            tries += 1
            await self._write(self._path(key), content, create=True)

        try:
            self._ask(self.url(key), "put", write)
        except PreconditionError:
            return tries > 1 and self.read_or_none(key) == content
        count("bytes_written", len(content))
        return True

    def delete(self, key: str) -> None:
        with suppress(ObjectMissingError):
            self._ask(self.url(key), "delete", lambda: self._fs._rm_file(self._path(key)))

    @property
    def _fs(self) -> Any:
        return _filesystem(type(self), self._address)

    @property
    def _own_name(self) -> str:
        return str(self.path.rpartition("/")[2])

    def _path(self, key: str) -> str:
        return f"{self.path}/{key}"

    def _ask(self, where: str, kind: str, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns in the end; each try counts as a request of `kind`."""

        def ask() -> T:
            count(kind)
            return cast("T", sync(self._fs.loop, work))

        return answered(where, ask)

    def _found(self, key: str, get: Callable[[str, str], T]) -> T:
        """Return `get(path, where)` of the object, which may be this folder itself."""
        try:
            return get(self._path(key), self.url(key))
        except ObjectMissingError:
            if key != self._own_name:
                raise
            return get(self.path, self.uri)

    def _open(self, path: str, where: str) -> BinaryIO:
        size_bytes, token, tail = self._ask(where, "get", lambda: self._end(path))

        def fetch(ranges: Sequence[Range]) -> list[bytes]:
            return self._fetch_many(path, where, ranges, token)

        return cast("BinaryIO", RangeReader(fetch, size_bytes, tail))

    def _fetch_many(
        self, path: str, where: str, ranges: Sequence[Range], token: str
    ) -> list[bytes]:
        """Fetch ranges at once; after a fault those alone that have not come."""
        contents: dict[Range, bytes] = {}

        async def work() -> None:
            missing = [each for each in ranges if each not in contents]
            # one request was counted for the call
            count("get", len(missing) - 1)
            results = await asyncio.gather(
                *(self._fetch(path, start, stop, token) for start, stop in missing),
                return_exceptions=True,
            )
            failed = None
            for each, result in zip(missing, results, strict=True):
                if isinstance(result, BaseException):
                    failed = result
                else:
                    contents[each] = result
            if failed is not None:
                raise failed

        self._ask(where, "get", work)
        return [contents[each] for each in ranges]

    def _put(self, key: str, content: bytes, *, create: bool) -> None:
        self._ask(
            self.url(key), "put", lambda: self._write(self._path(key), content, create=create)
        )
        count("bytes_written", len(content))

    def _meta(self, key: str, info: Mapping[str, Any]) -> ObjectMeta:
        token = next(info[name] for name in self.tokens if info.get(name))
        return ObjectMeta(key, int(info["size"]), str(token).strip('"'))

    async def _list(self) -> Mapping[str, Any]:
        """Return what the store says of each object, by path."""
        found: Mapping[str, Any] = await self._fs._find(self.path, detail=True)
        return found

    async def _info(self, path: str, key: str) -> ObjectMeta:
        """Return what a listing says of an object."""
        info = await self._fs._info(path)
        if info["type"] != "file":
            raise FileNotFoundError(path)
        return self._meta(key, info)

    async def _end(self, path: str) -> tuple[int, str, bytes]:
        """Return an object's size, its token, and as many of its last bytes as cost no request."""
        entry = await self._info(path, "")
        return entry.size_bytes, entry.token, b""

    async def _fetch(self, path: str, start: int, stop: int, token: str) -> bytes:
        """Return these bytes of the version `token` of an object."""
        try:
            content: bytes = await self._fs._cat_file(path, start, stop, **self._version(token))
        except FileNotFoundError as error:
            raise FileExistsError(path) from error  # in another version, that is
        if len(content) != stop - start:
            raise BrokenBodyError(f"{len(content):,} bytes of {stop - start:,} came")
        count("bytes_read", len(content))
        return content

    def _version(self, token: str) -> dict[str, str]:
        """Return the options by which `_cat_file` reads that version."""
        raise NotImplementedError

    async def _whole(self, path: str) -> bytes:
        content: bytes = await self._fs._cat_file(path)
        count("bytes_read", len(content))
        return content

    async def _write(self, path: str, content: bytes, *, create: bool) -> None:
        """Write a whole object; with `create` a PreconditionError, FileExistsError or 412 says that
        one is there."""
        mode = "create" if create else "overwrite"
        await self._fs._pipe_file(path, content, mode=mode)
