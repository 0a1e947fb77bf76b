"""A prefix of an S3 bucket, by s3fs. Endpoint, region, profile and credentials come from where
every AWS client reads them, or from the job (`settings`), other settings from fsspec's own.

Requests are made by `S3FileSystem._call_s3`, one of HTTP a call; GETs by plain HTTP on the calling
thread where that can be (`direct`).

**Conditional put** is `If-None-Match: *`. **A reader** takes the last 64 KB with its first request,
which tells size and ETag too: a Parquet file costs one request for its footer. All further requests
carry `If-Match`.

**Encryption** by the store is checked on each written object (`s3_encryption`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import fsspec
from botocore.exceptions import ClientError

from distill.storage import transfers
from distill.storage.answers import BrokenBodyError, original, status_of
from distill.storage.base import ObjectMeta
from distill.storage.direct import DirectGets, Found
from distill.storage.range_reader import TAIL_BYTES
from distill.storage.remote import Page, RemoteStorage
from distill.storage.s3_encryption import CUSTOMER_KEY, customer_options, require_encrypted

_PIECE_BYTES = 1 << 20


class S3Storage(RemoteStorage):
    """Objects are keys below `path`, which is `bucket/prefix`."""

    scheme = "s3"
    package = "s3fs"

    @classmethod
    def connected(cls, **options: Any) -> Any:
        # not among s3fs's own, of which a request cannot be made without them
        customer = customer_options(options.pop(CUSTOMER_KEY, None))
        config = {
            "user_agent": "distill",  # botocore's own is 5% of a request's CPU time
            **fsspec.config.conf.get("s3", {}).get("config_kwargs", {}),
            "retries": {"total_max_attempts": 1},
            "connect_timeout": transfers.CONNECT_SECONDS,
            "read_timeout": transfers.ANSWER_SECONDS,
            "max_pool_connections": transfers.CONNECTIONS,  # s3fs's own limit is 10
            "response_checksum_validation": "when_required",  # bodies are held against ETags here
        }
        filesystem = super().connected(**options, config_kwargs=config)
        filesystem.retries = 1
        filesystem.customer = customer
        filesystem.direct = DirectGets(filesystem)
        return filesystem

    async def _page(self, fs: Any, below: str, token: str) -> Page:
        more = {"ContinuationToken": token} if token else {}
        page = await fs._call_s3("list_objects_v2", Bucket=self._bucket, Prefix=below, **more)
        entries = [
            ObjectMeta(item["Key"], int(item["Size"]), item["ETag"].strip('"'))
            for item in page.get("Contents", ())
        ]
        return entries, page.get("NextContinuationToken")

    async def _info(self, fs: Any, path: str) -> ObjectMeta:
        answer = await _ask(fs, "head_object", path)
        return ObjectMeta(path, int(answer["ContentLength"]), answer["ETag"].strip('"'))

    def _end(self, fs: Any, path: str) -> tuple[int, str, bytes]:
        try:
            said, tail = _get(fs, path, Range=f"bytes=-{TAIL_BYTES}")
        except (OSError, ClientError) as error:
            if status_of(original(error)) == 416:
                return 0, "", b""  # no range lies in an object without a byte
            raise
        # a store without ranges sends all
        size_bytes = int(said.get("content-range", f"/{len(tail)}").rpartition("/")[2])
        _require_range(said, size_bytes - len(tail), size_bytes)
        return size_bytes, said["etag"], tail

    def _fetch(self, fs: Any, path: str, start: int, stop: int, token: str) -> bytes:
        headers = {"Range": f"bytes={start}-{stop - 1}", "If-Match": token}
        said, content = _get(fs, path, stop - start, **headers)
        _require_range(said, start, stop)
        return content

    def _whole(self, fs: Any, path: str) -> tuple[bytes, str]:
        said, content = _get(fs, path)
        return content, _md5(said)

    async def _write(self, fs: Any, path: str, content: bytes, *, create: bool) -> None:
        condition = {"IfNoneMatch": "*"} if create else {}
        answer = await _call(fs, "put_object", path, Body=content, **condition, **fs.customer)
        require_encrypted({**fs.s3_additional_kwargs, **fs.customer}, answer, f"s3://{path}")

    async def _remove(self, fs: Any, path: str) -> None:
        await _call(fs, "delete_object", path)


async def _call(fs: Any, name: str, path: str, **options: Any) -> dict[str, Any]:
    # not by s3fs's own paths, in which a key may end in "?versionId="
    bucket, _, key = path.partition("/")
    answer: dict[str, Any] = await fs._call_s3(name, Bucket=bucket, Key=key, **options)
    return answer


async def _ask(fs: Any, name: str, path: str, **options: str) -> dict[str, Any]:
    """Ask for an object with the customer's key, and without where the store says that it is not
    encrypted by one."""
    if not fs.customer:
        return await _call(fs, name, path, **options)
    try:
        return await _call(fs, name, path, **options, **fs.customer)
    except OSError as error:
        if status_of(original(error)) != 400:
            raise
        return await _call(fs, name, path, **options)


def _get(fs: Any, path: str, most_bytes: float = math.inf, **headers: str) -> Found:
    """Return headers and body, of which so many bytes are due."""

    async def by_s3fs() -> Found:
        options = {name.replace("-", ""): value for name, value in headers.items()}
        pace = transfers.Pace()
        asked = _ask(fs, "get_object", path, **options)
        answer = await asyncio.wait_for(asked, transfers.PATIENCE_SECONDS)
        pieces = []
        async with answer["Body"] as stream:
            while piece := await stream.read(_PIECE_BYTES):
                pieces.append(piece)
                pace.add(len(piece))
        return answer["ResponseMetadata"]["HTTPHeaders"], b"".join(pieces)

    def wait() -> Found:
        size_bytes = min(most_bytes, transfers.LARGEST_BYTES)
        found: Found = transfers.result_of(fs, by_s3fs(), size_bytes)
        return found

    is_plain = not fs.customer and not fs.req_kw
    return fs.direct.get(path, headers, wait, most_bytes) if is_plain else wait()


def _require_range(said: Mapping[str, str], start: int, stop: int) -> None:
    """Raise BrokenBodyError where other bytes came than were asked for."""
    come = said.get("content-range")
    if come is not None and not come.startswith(f"bytes {start}-{stop - 1}/"):
        raise BrokenBodyError(f"{come} came where bytes {start}-{stop - 1} were asked for")


def _md5(said: Mapping[str, str]) -> str:
    """What an ETag says of the bytes; that of parts ("…-3") and of encrypted ones says nothing."""
    etag = said["etag"].strip('"')
    by_store = said.get("x-amz-server-side-encryption", "").startswith("aws:kms")
    by_customer = "x-amz-server-side-encryption-customer-algorithm" in said
    return "" if by_store or by_customer or len(etag) != 32 else etag
