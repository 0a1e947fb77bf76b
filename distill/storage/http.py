"""Files behind `http(s)://`, for reading pools: the URL of one file, or of a text file (`.txt`)
that lists files, one URL a line, relative to it or whole. Empty lines and what follows a `#` are
left out; nothing can be written.

A file's key is its line. Its token is the server's ETag, or where there is none the date of its
last change; a server that says neither is refused. Parts of a file are asked for by range, and a
server that sends the whole file instead is refused. Each answer's token is compared with the one
that was opened, rather than sent as `If-Match`, which no weak ETag ever matches. So is the range
that it says it gives: some servers answer "the last 64 KiB" with the first, or with none at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.client import responses
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote, urljoin, urlsplit

from distill.core.errors import StorageError
from distill.storage.base import ObjectMeta, Storage
from distill.storage.lines import Answer, BodyTooLongError, Lines, NoLengthError
from distill.storage.range_reader import TAIL_BYTES
from distill.storage.remote import RemoteStorage

_LONGEST_LIST_BYTES = 64 << 20
"""Hundreds of thousands of lines. What is longer is rather text to learn from."""
_AT_ONCE = 32
_REDIRECTS = 10
_SAFE = "/:%+,;=@~!$&'()*"
"""What may stand in a URL as it is; a line may have escapes, and need not."""
_COPY = "Copy the files to a disk or to a bucket, and name that folder."
_WITHOUT_RANGES = "gives whole files, and no ranges of them"
_ANOTHER_RANGE = "gives another range than it is asked for"
_NO_VERSION = "says neither ETag nor Last-Modified, so nobody could tell when the file changes"
_NO_LENGTH = "does not say how long the file is, so nobody could tell when a part is missing"
_WITH_LENGTH = "Serve it with a Content-Length, or copy the files to a disk or to a bucket."
_AS_IT_IS = "Have it served as it is, or copy the files to a disk or to a bucket."
_CORRECT = "Correct the address."
_PARTIAL = 206
_NO_SUCH_RANGE = 416
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")

T = TypeVar("T")


class RefusedError(Exception):
    """A server answered `status`."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status} {responses.get(status, '')}")
        self.status = status


class ReadOnlyStorage(RemoteStorage):
    """Files at https addresses (`_path`), and nothing is written."""

    @classmethod
    def connected(cls, **options: Any) -> Any:  # noqa: ARG003
        return Lines()

    def _refuse(self, key: str, content: bytes = b"") -> NoReturn:  # noqa: ARG002
        scheme = urlsplit(self.uri).scheme
        raise StorageError(
            f"{self.url(key)} cannot be written: {scheme}:// is for reading pools."
            " Write to a disk or to a bucket."
        )

    put = create = delete = _refuse

    @staticmethod
    def _token(answer: Answer, url: str) -> str:
        """What tells the version of a file that an answer is of."""
        token = version(answer.headers.get("ETag", "")) or answer.headers.get("Last-Modified", "")
        if not token:
            raise _wrong(url, _NO_VERSION)
        return token

    def _info(self, fs: Lines, path: str) -> ObjectMeta:
        answer = request(fs, "HEAD", path)
        size = answer.headers.get("Content-Length")
        if size is None:
            raise _wrong(path, "does not say the file's size")
        return ObjectMeta(path, int(size), self._token(answer, path))

    def _end(self, fs: Lines, path: str) -> tuple[int, str, bytes]:
        try:
            answer = request_range(fs, path, f"-{TAIL_BYTES}", TAIL_BYTES)
        except RefusedError as error:
            if error.status != _NO_SUCH_RANGE:
                raise
            # of a file without a byte, and by servers that know no range from the end
            entry = self._info(fs, path)
            return entry.size_bytes, entry.token, b""
        size_bytes = len(answer.content)
        if answer.status == _PARTIAL:
            start, stop, size_bytes = _given_range(answer, path)
            if stop != size_bytes or stop - start != len(answer.content):
                raise _wrong(path, _ANOTHER_RANGE)
        return size_bytes, self._token(answer, path), answer.content

    def _fetch(self, fs: Lines, path: str, start: int, stop: int, token: str) -> bytes:
        answer = request_range(fs, path, f"{start}-{stop - 1}", stop - start)
        if token != self._token(answer, path):
            raise FileExistsError(path)  # as another version, that is
        if answer.status != _PARTIAL:
            raise _wrong(path, _WITHOUT_RANGES)
        if _given_range(answer, path)[:2] != (start, stop):
            raise _wrong(path, _ANOTHER_RANGE)
        return answer.content

    def _whole(self, fs: Lines, path: str) -> tuple[bytes, str]:
        return request(fs, "GET", path).content, ""


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
        text = self._ask(self.uri, "get", self._list).decode("utf-8", "replace")
        keys = _keys(text, self.uri)
        for start in range(0, len(keys), _AT_ONCE):
            yield from self._ask_for_each(
                self.uri,
                keys[start : start + _AT_ONCE],
                lambda fs, key: replace(self._info(fs, self._path(key)), key=key),
            )

    @property
    def _is_list(self) -> bool:
        return self.uri.lower().endswith(".txt")

    def _list(self, fs: Lines) -> bytes:
        try:
            return request(fs, "GET", self.uri, most_bytes=_LONGEST_LIST_BYTES).content
        except BodyTooLongError as error:
            raise StorageError(
                f"{self.uri} has more than {_LONGEST_LIST_BYTES:,} bytes, and should be a list of"
                " files, since it ends in .txt. Give rows another ending, or list fewer files at a"
                " time."
            ) from error

    def _path(self, key: str) -> str:
        return self.url(key)

    def _found(self, key: str, get: Callable[[str, str], T]) -> T:
        return get(self._path(key), self.url(key))


def request(
    fs: Lines, method: str, url: str, *, redirects: int = _REDIRECTS, **options: Any
) -> Answer:
    """Return what a server answers, a redirect where none is followed. Raises RefusedError,
    StorageError, what `Lines.ask` does."""
    try:
        answer = fs.ask(method, url, redirects=redirects, **options)
    except NoLengthError as error:
        raise _wrong(url, _NO_LENGTH, _WITH_LENGTH) from error
    if answer.status >= 400:
        raise RefusedError(answer.status)
    if answer.status >= 300 and redirects:
        raise _wrong(url, f"answers {answer.status} and says no other address", _CORRECT)
    encoding = answer.headers.get("Content-Encoding", "").strip().lower()
    # of a packed file some servers say that it is, and give its own bytes
    is_packed = url.endswith(".gz") and encoding in ("gzip", "x-gzip")
    if encoding not in ("", "identity") and not is_packed:
        raise _wrong(url, f"gives the file encoded, as {encoding!r}", _AS_IT_IS)
    return answer


def request_range(fs: Lines, url: str, wanted: str, size_bytes: int) -> Answer:
    """Return the answer to a GET of so many bytes. Raises StorageError where more come."""
    try:
        headers = {"Range": f"bytes={wanted}"}
        return request(fs, "GET", url, headers=headers, most_bytes=size_bytes)
    except BodyTooLongError as error:
        raise _wrong(url, _WITHOUT_RANGES) from error


def version(etag: str) -> str:
    """Return what an ETag says, weak or not."""
    return etag.removeprefix("W/").strip('"')


def _given_range(answer: Answer, url: str) -> tuple[int, int, int]:
    """First byte, byte after the last, and size of the file, as a partial answer says them."""
    match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if match is None:
        raise _wrong(url, _ANOTHER_RANGE)
    first, last, size_bytes = map(int, match.groups())
    return first, last + 1, size_bytes


def _wrong(url: str, does: str, mend: str = _COPY) -> StorageError:
    return StorageError(f"{url}: the server {does}. {mend}")


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
