"""A prefix of a bucket of Google Cloud Storage, by gcsfs, which finds the credentials
(GOOGLE_APPLICATION_CREDENTIALS, gcloud's login, the service account of the machine).

Its conditional put is `ifGenerationMatch=0`; a reader asks for the generation that it opened.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from distill.storage.base import ObjectMeta
from distill.storage.remote import Page, RemoteStorage
from distill.storage.transfers import ANSWER_SECONDS, CONNECT_SECONDS


class GcsStorage(RemoteStorage):
    """Objects are keys below `path`, which is `bucket/prefix`."""

    scheme = "gs"
    package = "gcsfs"
    extra = "gcs"

    @classmethod
    def filesystem_class(cls) -> Any:
        # not what fsspec gives: that asks first, by gRPC, what type each bucket has
        from gcsfs.core import GCSFileSystem

        return GCSFileSystem

    @classmethod
    def connected(cls, **options: Any) -> Any:
        from aiohttp import ClientTimeout

        limits = ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS)
        filesystem = super().connected(**options, requests_timeout=limits)
        # gcsfs asks six times
        filesystem._request = partial(type(filesystem)._request.__wrapped__, filesystem)
        return filesystem

    async def _page(self, fs: Any, below: str, token: str) -> Page:
        said = {"prefix": below, "pageToken": token or None, "maxResults": 1000}
        page = await fs._call("GET", "b/{}/o", self._bucket, json_out=True, **said)
        return [_meta(item) for item in page.get("items", ())], page.get("nextPageToken")

    async def _info(self, fs: Any, path: str) -> ObjectMeta:
        bucket, _, key = path.partition("/")
        return _meta(await fs._call("GET", "b/{}/o/{}", bucket, key, json_out=True))

    async def _fetch(self, fs: Any, path: str, start: int, stop: int, token: str) -> bytes:
        try:
            return cast("bytes", await fs._cat_file(path, start, stop, generation=token))
        except FileNotFoundError as error:
            raise FileExistsError(path) from error  # in another version, that is

    async def _whole(self, fs: Any, path: str) -> tuple[bytes, str]:
        headers, content = await fs._call("GET", fs.url(path))
        hashes = str(headers.get("x-goog-hash", "")).split(",")
        stored = next((each for each in hashes if each.strip().startswith("md5=")), "")
        is_as_stored = headers.get("x-goog-stored-content-encoding", "identity") == "identity"
        md5 = stored.partition("=")[2] if is_as_stored else ""
        return content, b64decode(md5).hex()


def _meta(item: Mapping[str, Any]) -> ObjectMeta:
    return ObjectMeta(item["name"], int(item["size"]), str(item["generation"]))
