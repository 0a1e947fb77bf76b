"""Files behind `http(s)://`, for reading pools: the URL of one file, or of a text file (`.txt`)
that lists files, one URL a line, relative to it or whole. Empty lines and what follows a `#` are
left out; nothing can be written.

A file's key is its line. Its token is the server's ETag, or where there is none the date of its
last change; a server that says neither is refused, since nobody could tell another file from it.
Parts of a file are asked for by range, and a server that sends the whole file instead is refused.
Each answer's token is compared with the one that was opened, rather than sent as `If-Match`, which
no weak ETag ever matches. So is the range that it says it gives, since some servers answer "the last
64 KiB" with the first, or with none at all.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import aiohttp

from distill.core.errors import StorageError
from distill.storage.base import ObjectMeta, Storage
from distill.storage.range_reader import TAIL_BYTES
from distill.storage.remote import RemoteStorage
from distill.storage.transfers import BodyTooLongError, client_timeout, whole_body

_LIST_ENDING = ".txt"
_LONGEST_LIST_BYTES = 64 << 20
"""Hundreds of thousands of lines. What is longer is rather text to learn from."""
_AT_ONCE = 32
_SAFE = "/:%+,;=@~!$&'()*"
"""What may stand in a URL as it is; a line may have escapes, and need not."""
_COPY = "Copy the files to a disk or to a bucket, and name that folder."
_PARTIAL = 206
_NO_SUCH_RANGE = 416
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")

T = TypeVar("T")


class ReadOnlyStorage(RemoteStorage):
    """Files at https addresses (`_path`), and nothing is written."""

    @classmethod
    def options(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**settings, "client_kwargs": {"timeout": client_timeout()}}

    def put(self, key: str, content: bytes) -> None:  # noqa: ARG002
        raise self._refusal(key)

    def create(self, key: str, content: bytes) -> bool:  # noqa: ARG002
        raise self._refusal(key)

    def delete(self, key: str) -> None:
        raise self._refusal(key)

    def _refusal(self, key: str) -> StorageError:
        scheme = urlsplit(self.uri).scheme
        return StorageError(
            f"{self.url(key)} cannot be written: {scheme}:// is for reading pools."
            " Write to a disk or to a bucket."
        )

    @staticmethod
    def _token(answer: Any) -> str:
        """What tells the version of a file that an answer is of."""
        etag = str(answer.headers.get("ETag", "")).removeprefix("W/").strip('"')
        token = etag or str(answer.headers.get("Last-Modified", ""))
        if not token:
            where = str(answer.url.with_query(None))  # a query may be a signature
            raise StorageError(
                f"{where}: the server says neither ETag nor Last-Modified, so nobody could"
                f" tell when the file changes. {_COPY}"
            )
        return token

    async def _info(self, fs: Any, path: str) -> ObjectMeta:
        async with request(fs, "HEAD", path) as answer:
            return ObjectMeta(path, _size(answer, path), self._token(answer))

    async def _end(self, fs: Any, path: str) -> tuple[int, str, bytes]:
        try:
            async with request(fs, "GET", path, Range=f"bytes=-{TAIL_BYTES}") as answer:
                announced = int(answer.headers.get("Content-Length", TAIL_BYTES + 1))
                token = self._token(answer)
                if answer.status == _PARTIAL:
                    start, stop, size_bytes = _given_range(answer, path)
                    if stop != size_bytes or stop - start != announced:
                        raise _another_range(path)
                    return size_bytes, token, await whole_body(answer.content, announced)
                if announced > TAIL_BYTES:
                    raise _without_ranges(path)
                return announced, token, await whole_body(answer.content, announced)
        except aiohttp.ClientResponseError as error:
            if error.status != _NO_SUCH_RANGE:
                raise
        # of a file without a byte, and by servers that know no range from the end
        async with request(fs, "HEAD", path) as answer:
            return _size(answer, path), self._token(answer), b""

    async def _fetch(self, fs: Any, path: str, start: int, stop: int, token: str) -> bytes:
        async with request(fs, "GET", path, Range=f"bytes={start}-{stop - 1}") as answer:
            if token != self._token(answer):
                raise FileExistsError(path)  # as another version, that is
            if answer.status != _PARTIAL:
                raise _without_ranges(path)
            first, last, _ = _given_range(answer, path)
            if (first, last) != (start, stop):
                raise _another_range(path)
            return await whole_body(answer.content, stop - start)

    async def _whole(self, fs: Any, path: str) -> tuple[bytes, str]:
        async with request(fs, "GET", path) as answer:
            return await whole_body(answer.content, answer.content_length), ""


class HttpStorage(ReadOnlyStorage):
    """The file at `uri`, or those that the list there names."""

    scheme = "https"

    def folder(self, *names: str) -> Storage:
        raise StorageError(f"{self.uri} is a file, and has no folder {'/'.join(names)!r}.")

    def url(self, key: str) -> str:
        is_itself = key == self._own_name and not self._is_list
        return self.uri if is_itself else urljoin(self.uri, quote(key, safe=_SAFE))

    def walk(self) -> Iterator[ObjectMeta]:
        if not self._is_list:
            yield self.entry(self._own_name)
            return
        listed: bytes = self._ask(self.uri, "get", self._list, _LONGEST_LIST_BYTES)
        keys = _keys(listed.decode("utf-8", "replace"), self.uri)
        for start in range(0, len(keys), _AT_ONCE):
            yield from self._entries(keys[start : start + _AT_ONCE])

    @property
    def _is_list(self) -> bool:
        return self.uri.lower().endswith(_LIST_ENDING)

    async def _list(self, fs: Any) -> bytes:
        async with request(fs, "GET", self.uri) as answer:
            try:
                return await whole_body(
                    answer.content, answer.content_length, most_bytes=_LONGEST_LIST_BYTES
                )
            except BodyTooLongError as error:
                raise StorageError(
                    f"{self.uri} has more than {_LONGEST_LIST_BYTES:,} bytes, and should be a list"
                    " of files, since it ends in .txt. Give rows another ending, or list fewer"
                    " files at a time."
                ) from error

    def _entries(self, keys: list[str]) -> list[ObjectMeta]:
        async def look(fs: Any, key: str) -> ObjectMeta:
            entry = await self._info(fs, self._path(key))
            return replace(entry, key=key)

        return self._ask_for_each(self.uri, keys, look)

    def _path(self, key: str) -> str:
        return self.url(key)

    def _found(self, key: str, get: Callable[[str, str], T]) -> T:
        return get(self._path(key), self.url(key))


@asynccontextmanager
async def request(
    fs: Any, method: str, url: str, *, redirected: bool = True, **headers: str
) -> AsyncIterator[Any]:
    """Make a request of an HTTPFileSystem. Raises ClientResponseError for what is refused."""
    session = await fs.set_session()
    # a packed body has other ranges than the file
    headers["Accept-Encoding"] = "identity"
    options = {"headers": headers, "allow_redirects": redirected}
    async with session.request(method, url, **options) as answer:
        answer.raise_for_status()
        yield answer


def _size(answer: Any, url: str) -> int:
    announced = answer.headers.get("Content-Length")
    if announced is None:
        raise StorageError(f"{url}: the server does not say the file's size. {_COPY}")
    return int(announced)


def _given_range(answer: Any, url: str) -> tuple[int, int, int]:
    """First byte, byte after the last, and size of the file, as a partial answer says them."""
    match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if match is None:
        raise _another_range(url)
    first, last, size_bytes = map(int, match.groups())
    return first, last + 1, size_bytes


def _another_range(url: str) -> StorageError:
    return StorageError(f"{url}: the server gives another range than it is asked for. {_COPY}")


def _without_ranges(url: str) -> StorageError:
    return StorageError(f"{url}: the server gives whole files, and no ranges of them. {_COPY}")


def _keys(text: str, where: str) -> list[str]:
    """The lines of a list of files, without those that may hold a secret: keys are stored."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    keys = list(dict.fromkeys(line for line in lines if line))
    for key in keys:
        parts = urlsplit(key)
        if parts.query or "@" in parts.netloc or parts.scheme not in ("", "http", "https"):
            shown = key.partition("?")[0].rpartition("@")[2]
            raise StorageError(
                f"{where} lists {shown!r}, which is no plain http(s) URL: a query or a user's name"
                " may be a secret, and the names of files are stored. Leave it out."
            )
    return keys
