"""A prefix of an S3 bucket, by s3fs. Endpoint, region, profile and credentials come from where
every AWS client reads them, or from the job (`settings`), other settings from fsspec's own.

Of our own is what s3fs has not. Its requests are made by `S3FileSystem._call_s3`, one HTTP request
a call; GETs by plain HTTP on the calling thread where that can be (`direct`).

**Conditional put** is `If-None-Match: *`. **A reader** takes the last 64 KB with its first request,
which tells size and ETag too: a Parquet file costs one request for its footer. All further requests
carry `If-Match`.

**Encryption** by the store is checked on each written object (`s3_encryption`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import fsspec
from botocore.exceptions import ClientError

from distill.storage import transfers
from distill.storage.answers import BrokenBodyError, original, status_of
from distill.storage.base import ObjectMeta
from distill.storage.direct import Answer, DirectGets
from distill.storage.range_reader import TAIL_BYTES
from distill.storage.remote import Page, RemoteStorage
from distill.storage.s3_encryption import CUSTOMER_KEY, customer_options, require_encrypted
from distill.storage.settings import options_of


class S3Storage(RemoteStorage):
    """Objects are keys below `path`, which is `bucket/prefix`."""

    scheme = "s3"
    package = "s3fs"

    @classmethod
    def options(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        said = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        config = {
            "user_agent": "distill",  # botocore's own is 5% of a request's CPU time
            **said,
            "retries": {"total_max_attempts": 1},
            "connect_timeout": transfers.CONNECT_SECONDS,
            "read_timeout": transfers.ANSWER_SECONDS,
            "max_pool_connections": transfers.CONNECTIONS,  # s3fs's own limit is 10
            "response_checksum_validation": "when_required",  # bodies are held against ETags here
        }
        others = {name: value for name, value in settings.items() if name != CUSTOMER_KEY}
        return {**others, "config_kwargs": config}

    @classmethod
    def prepare(cls, filesystem: Any) -> None:
        filesystem.retries = 1
        # not among s3fs's own, of which a request cannot be made without them
        filesystem.customer = customer_options(options_of(cls.scheme).get(CUSTOMER_KEY))
        filesystem.direct = DirectGets(filesystem)

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
            answer, tail = _get(fs, path, Range=f"bytes=-{TAIL_BYTES}")
        except (OSError, ClientError) as error:
            if status_of(original(error)) == 416:
                return 0, "", b""  # no range lies in an object without a byte
            raise
        # a store without ranges sends all
        size_bytes = int(answer.get("ContentRange", f"/{len(tail)}").rpartition("/")[2])
        _require_range(answer, size_bytes - len(tail), size_bytes)
        return size_bytes, answer["ETag"], tail

    def _fetch(self, fs: Any, path: str, start: int, stop: int, token: str) -> bytes:
        headers = {"Range": f"bytes={start}-{stop - 1}", "If-Match": token}
        answer, content = _get(fs, path, stop - start, **headers)
        _require_range(answer, start, stop)
        return content

    def _whole(self, fs: Any, path: str) -> tuple[bytes, str]:
        answer, content = _get(fs, path)
        return content, _md5(answer)

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


def _get(fs: Any, path: str, most_bytes: float = math.inf, **headers: str) -> Answer:
    """Return the answer, in botocore's words, and its body, of which so many bytes are due."""

    async def by_s3fs() -> Answer:
        options = {name.replace("-", ""): value for name, value in headers.items()}
        answer = await _ask(fs, "get_object", path, **options)
        async with answer["Body"] as stream:
            content = await transfers.whole_body(stream, int(answer["ContentLength"]))
        return answer, content

    def wait() -> Answer:
        size_bytes = min(most_bytes, transfers.LARGEST_BYTES)
        found: Answer = transfers.result_of(fs, by_s3fs(), size_bytes)
        return found

    is_plain = not fs.customer and not fs.req_kw
    return fs.direct.get(path, headers, wait, most_bytes) if is_plain else wait()


def _require_range(answer: dict[str, Any], start: int, stop: int) -> None:
    """Raise BrokenBodyError where other bytes came than were asked for."""
    come = answer.get("ContentRange")
    if come is not None and not come.startswith(f"bytes {start}-{stop - 1}/"):
        raise BrokenBodyError(f"{come} came where bytes {start}-{stop - 1} were asked for")


def _md5(answer: dict[str, Any]) -> str:
    """What an ETag says of the bytes; that of parts ("…-3") and of encrypted ones says nothing."""
    etag = str(answer["ETag"]).strip('"')
    by_store = str(answer.get("ServerSideEncryption", ""))
    encrypted = "SSECustomerAlgorithm" in answer or by_store.startswith("aws:kms")
    return "" if encrypted or len(etag) != 32 else etag
