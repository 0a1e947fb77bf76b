"""A prefix of a bucket of Google Cloud Storage, by gcsfs, which finds the credentials
(GOOGLE_APPLICATION_CREDENTIALS, gcloud's login, the service account of the machine).

Its conditional put is `ifGenerationMatch=0`; a reader asks for the generation that it opened.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import aiohttp

from distill.storage.remote import ANSWER_SECONDS, CONNECT_SECONDS, RemoteStorage


class GcsStorage(RemoteStorage):
    """Objects are keys below `path`, which is `bucket/prefix`."""

    scheme = "gs"
    package = "gcsfs"
    extra = "gcs"
    tokens = ("generation",)

    @classmethod
    def filesystem_class(cls) -> Any:
        # not what fsspec gives: that asks first, by gRPC, what type each bucket has
        from gcsfs.core import GCSFileSystem

        return GCSFileSystem

    @classmethod
    def options(cls) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS)
        return {"requests_timeout": timeout}

    @classmethod
    def prepare(cls, filesystem: Any) -> None:
        # one HTTP request a call: gcsfs asks six times, which makes a winner a loser
        once = type(filesystem)._request.__wrapped__
        filesystem._request = partial(once, filesystem)

    def _version(self, token: str) -> dict[str, str]:
        return {"generation": token}
