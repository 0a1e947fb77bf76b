"""Settings of stores that are no secret, as a job says them: `[storage.s3]`, `[storage.gs]`,
`[storage.abfs]`. Credentials never stand in a job; each client finds them where it always does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from distill.spec.base import Table
from distill.spec.privacy import KeyReference


class S3Settings(Table):
    """Amazon's S3 and what speaks like it, by s3fs. Credentials: AWS's own variables, files and
    roles."""

    endpoint: str | None = None
    """Address of a store that is not Amazon's."""
    region: str | None = None
    profile: str | None = None
    """Of AWS's configuration files, on every machine."""
    anonymous: bool | None = None
    """Whether requests go out unsigned, as to a public bucket."""
    requester_pays: bool | None = None
    """Whether who asks pays for it, which such buckets want to be told."""
    sse: Literal["AES256", "aws:kms"] | None = None
    """How the store encrypts what is written."""
    sse_kms_key_id: str | None = None
    """The key of KMS for that."""
    sse_customer_key: KeyReference | None = None
    """Where a key of 32 bytes lies, by which the store encrypts what is written and keeps none of it
    (SSE-C). What was written without it is still read."""

    @model_validator(mode="after")
    def _one_way(self) -> S3Settings:
        if self.sse_customer_key is not None and self.sse is not None:
            raise ValueError("says sse and sse_customer_key; objects are encrypted by one of them")
        if self.sse_kms_key_id is not None and self.sse != "aws:kms":
            raise ValueError('sse_kms_key_id is of sse = "aws:kms"; say that too')
        return self

    def options(self) -> dict[str, Any]:
        """Return what `S3FileSystem` takes, and `sse_customer_key`, a reference."""
        encryption = given({"ServerSideEncryption": self.sse, "SSEKMSKeyId": self.sse_kms_key_id})
        return given(
            {
                "endpoint_url": self.endpoint,
                "client_kwargs": given({"region_name": self.region}) or None,
                "profile": self.profile,
                "anon": self.anonymous,
                "requester_pays": self.requester_pays,
                "s3_additional_kwargs": encryption or None,
                "sse_customer_key": self.sse_customer_key,
            }
        )


class GcsSettings(Table):
    """Google Cloud Storage, by gcsfs. Credentials: GOOGLE_APPLICATION_CREDENTIALS, gcloud's login
    or the machine's service account."""

    extra: ClassVar[str] = "gcs"

    endpoint: str | None = None
    """Address of an emulator or a private one."""
    project: str | None = None
    anonymous: bool | None = None
    requester_pays: bool | None = None

    def options(self) -> dict[str, Any]:
        """Return what `GCSFileSystem` takes."""
        return given(
            {
                "endpoint_url": self.endpoint,
                "project": self.project,
                "token": "anon" if self.anonymous else None,
                "requester_pays": self.requester_pays,
            }
        )


class AzureSettings(Table):
    """Azure Blob Storage, by adlfs: `abfs://CONTAINER/PREFIX`. Credentials: AZURE_STORAGE_* or the
    machine's identity."""

    extra: ClassVar[str] = "azure"

    account: str | None = None
    """Name of the storage account."""
    endpoint: str | None = None
    """Its host, where that is not `ACCOUNT.blob.core.windows.net`."""
    anonymous: bool | None = None

    def options(self) -> dict[str, Any]:
        """Return what `AzureBlobFileSystem` takes."""
        return given(
            {"account_name": self.account, "account_host": self.endpoint, "anon": self.anonymous}
        )


class StorageSettings(Table):
    """Settings of each kind of store, by the scheme of its URIs."""

    s3: S3Settings = S3Settings()
    gs: GcsSettings = GcsSettings()
    abfs: AzureSettings = AzureSettings()

    @property
    def endpoints(self) -> tuple[tuple[str, str], ...]:
        """The addresses that were said, beside their schemes."""
        host = self.abfs.endpoint
        address = None if host is None else f"https://{host}"
        addresses = {"s3": self.s3.endpoint, "gs": self.gs.endpoint, "abfs": address}
        pairs = given(addresses)
        return tuple(pairs.items())

    def options(self) -> dict[str, dict[str, Any]]:
        """Return what filesystems take, by scheme."""
        by_scheme = {"s3": self.s3.options(), "gs": self.gs.options(), "abfs": self.abfs.options()}
        return {scheme: options for scheme, options in by_scheme.items() if options}


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were said."""
    return {name: value for name, value in options.items() if value is not None}
