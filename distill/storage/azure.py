"""A prefix of a container of Azure Blob Storage, by adlfs, which finds the account and its
credentials (AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_ACCOUNT_NAME, the machine's identity).

Its conditional put is `If-None-Match: *`; a reader's requests carry `If-Match`, which adlfs leaves
out.
"""

from __future__ import annotations

from typing import Any, cast

from distill.storage.base import ObjectMeta
from distill.storage.remote import Page, RemoteStorage
from distill.storage.transfers import ANSWER_SECONDS, CONNECT_SECONDS


class AzureStorage(RemoteStorage):
    """Objects are keys below `path`, which is `container/prefix`."""

    scheme = "abfs"
    package = "adlfs"
    extra = "azure"

    @classmethod
    def connected(cls, **options: Any) -> Any:
        limits = {"connection_timeout": CONNECT_SECONDS, "read_timeout": ANSWER_SECONDS}
        filesystem = super().connected(**options, **limits)
        # Azure's client asks four times
        filesystem.service_client._config.retry_policy.total_retries = 0
        return filesystem

    async def _page(self, fs: Any, below: str, token: str) -> Page:
        container = fs.service_client.get_container_client(self._bucket)
        blobs = container.list_blobs(name_starts_with=below, results_per_page=1000)
        pages = blobs.by_page(token or None)
        async for page in pages:
            return [_meta(blob) async for blob in page], pages.continuation_token or None
        return [], None

    async def _info(self, fs: Any, path: str) -> ObjectMeta:
        return _meta(await _blob(fs, path).get_blob_properties())

    async def _fetch(self, fs: Any, path: str, start: int, stop: int, token: str) -> bytes:
        from azure.core import MatchConditions

        condition = {"etag": f'"{token}"', "match_condition": MatchConditions.IfNotModified}
        stream = await _blob(fs, path).download_blob(start, stop - start, **condition)
        return cast("bytes", await stream.readall())

    async def _whole(self, fs: Any, path: str) -> tuple[bytes, str]:
        stream = await _blob(fs, path).download_blob()
        md5 = stream.properties.content_settings.content_md5 or b""
        return await stream.readall(), bytes(md5).hex()


def _blob(fs: Any, path: str) -> Any:
    container, _, blob = path.partition("/")
    return fs.service_client.get_blob_client(container, blob)


def _meta(properties: Any) -> ObjectMeta:
    return ObjectMeta(properties.name, int(properties.size), properties.etag.strip('"'))
