"""A prefix of an S3 bucket, by s3fs. Endpoint, region and credentials come from the environment, as every AWS client reads them.

Listings are never cached (another worker may have committed a moment ago), and `create` is `If-None-Match: *`.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import aiohttp
from botocore.exceptions import BotoCoreError

from distill.errors import StorageError
from distill.storage.base import Entry, ObjectMissingError, Storage

_CONFLICT_TRIES = 6
_REFUSED = ("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden")
_NOT_GIVEN = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound")
_FAILED = (OSError, BotoCoreError, aiohttp.ClientError, asyncio.TimeoutError)
"""s3fs translates the store's answers to OSError, and passes on what kept it from getting one."""


@functools.cache
def _client() -> Any:
    import s3fs

    return s3fs.S3FileSystem(use_listings_cache=False, default_fill_cache=False, skip_instance_cache=True)


class S3Storage(Storage):
    """Objects are keys below `path`, which is `bucket/prefix`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.uri = f"s3://{path}"

    def folder(self, *names: str) -> S3Storage:
        return S3Storage("/".join([self.path, *names]))

    def walk(self) -> Iterator[Entry]:
        try:
            found = _client().find(self.path, detail=True)
        except FileNotFoundError:
            return
        except _FAILED as error:
            raise _told(error, self.uri) from error
        for path, status in found.items():
            if status["type"] == "directory" or path.endswith("/"):
                continue  # the empty object by which a console shows a folder
            key = path[len(self.path) :].lstrip("/") or path.rsplit("/", 1)[1]
            yield Entry(key, int(status["size"]), str(status["ETag"]).strip('"'))

    def open(self, key: str) -> BinaryIO:
        try:
            return cast("BinaryIO", _client().open(self._path(key), "rb"))
        except FileNotFoundError:
            raise ObjectMissingError(self.url(key)) from None
        except _FAILED as error:
            raise _told(error, self.url(key)) from error

    def read(self, key: str) -> bytes:
        try:
            return cast("bytes", _client().cat_file(self._path(key)))
        except FileNotFoundError:
            raise ObjectMissingError(self.url(key)) from None
        except _FAILED as error:
            raise _told(error, self.url(key)) from error

    def put(self, key: str, content: bytes) -> None:
        try:
            _client().pipe_file(self._path(key), content)
        except _FAILED as error:
            raise _told(error, self.url(key)) from error

    def create(self, key: str, content: bytes) -> bool:
        for attempt in range(_CONFLICT_TRIES):
            try:
                _client().pipe_file(self._path(key), content, mode="create")
            except FileExistsError:
                return False
            except _FAILED as error:
                if _is(error, "PreconditionFailed", "412") or self.read_or_none(key) is not None:
                    return False
                if not _is(error, "ConditionalRequestConflict", "409") and attempt == _CONFLICT_TRIES - 1:
                    raise _told(error, self.url(key)) from error
                if _is(error, *_REFUSED):
                    raise _told(error, self.url(key)) from error
                time.sleep(0.05 * 2**attempt)
            else:
                return True
        raise StorageError(
            f"{self.url(key)}: the store answered {_CONFLICT_TRIES} times that another write is under way. Run again."
        )

    def delete(self, key: str) -> None:
        try:
            _client().rm_file(self._path(key))
        except FileNotFoundError:
            return
        except _FAILED as error:
            raise _told(error, self.url(key)) from error

    def _path(self, key: str) -> str:
        name = self.path.rsplit("/", 1)[1] if "/" in self.path else ""
        return self.path if key == name and _client().isfile(self.path) else f"{self.path}/{key}"


def _code(error: BaseException) -> str:
    """The store's own error code, from the botocore error that s3fs keeps as the cause."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _is(error: BaseException, *codes: str) -> bool:
    return _code(error) in codes


def _told(error: Exception, where: str) -> StorageError:
    code = _code(error)
    if type(error).__name__ in _NOT_GIVEN:
        return StorageError(
            f"{where}: {error}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role."
        )
    if isinstance(error, PermissionError) or code in _REFUSED:
        return StorageError(
            f"{where}: the store refused the credentials ({code or error}). Check AWS_ACCESS_KEY_ID, AWS_PROFILE or the role."
        )
    return StorageError(f"{where}: {code or type(error).__name__}: {error}")
