"""A prefix of a container of Azure Blob Storage, by adlfs, which finds the account and its
credentials (AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_ACCOUNT_NAME, the machine's identity).

Its conditional put is `If-None-Match: *`; a reader's requests carry `If-Match`, which adlfs leaves
out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from distill.storage.answers import BrokenBodyError
from distill.storage.remote import ANSWER_SECONDS, CONNECT_SECONDS, RemoteStorage
from distill.storage.request_counts import count


class AzureStorage(RemoteStorage):
    """Objects are keys below `path`, which is `container/prefix`."""

    scheme = "abfs"
    package = "adlfs"
    extra = "azure"
    tokens = ("etag",)

    @classmethod
    def options(cls) -> dict[str, Any]:
        return {"connection_timeout": CONNECT_SECONDS, "read_timeout": ANSWER_SECONDS}

    @classmethod
    def prepare(cls, filesystem: Any) -> None:
        # one HTTP request a call: the client's own repetitions make a winner a loser
        filesystem.service_client._config.retry_policy.total_retries = 0

    async def _list(self) -> Mapping[str, Any]:
        found: Any = await super()._list()
        if isinstance(found, list):  # adlfs leaves details out where the folder is one object
            return {name: await self._fs._info(name) for name in found}
        return cast("Mapping[str, Any]", found)

    async def _fetch(self, path: str, start: int, stop: int, token: str) -> bytes:
        from azure.core import MatchConditions

        container, blob, _ = self._fs.split_path(path)
        async with self._fs.service_client.get_blob_client(container, blob) as client:
            stream = await client.download_blob(
                start,
                stop - start,
                etag=f'"{token}"',
                match_condition=MatchConditions.IfNotModified,
                **self._fs._timeout_kwargs,
            )
            content: bytes = await stream.readall()
        if len(content) != stop - start:
            raise BrokenBodyError(f"{len(content):,} bytes of {stop - start:,} came")
        count("bytes_read", len(content))
        return content
