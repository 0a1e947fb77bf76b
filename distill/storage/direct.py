"""GETs of S3 objects by plain HTTP on threads, at addresses that s3fs signs.

A request through s3fs costs 2 ms of CPU in botocore, and its body is copied four times on the one
thread of the event loop. Neither is needed for a GET: the client signs an object's address once
(`generate_presigned_url`), after which any range of any version is asked for by urllib3, which
botocore brings, and a body goes from the socket to its bytes while Python does something else.

Not Arrow's client, which was as quick: it has no `If-Match`, so that a file replaced meanwhile is
read as a mixture of two; it asks for the size before each object; and its own retries and time-outs
would stand beside ours.

What this way cannot do goes s3fs's: keys of customers, requester pays and whatever else is said
with each request, proxies, keys with "." or ".." for a folder, the first GET of a bucket (which
finds its region), whatever is refused here, as by buckets that take no signed addresses, and all
where the libraries' inner parts that this way needs have other names.
"""

from __future__ import annotations

import asyncio
import io
import logging
import re
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import urllib3
from botocore.exceptions import ClientError

from distill.storage import transfers
from distill.storage.answers import BrokenBodyError

log = logging.getLogger(__name__)

CONNECTIONS = 64
"""A thread beyond that waits for a line."""
_SIGNED_SECONDS = 900
_KEPT_SECONDS = 300
"""Identities are renewed ten minutes before they end, so an address never outlives its own."""
_MOST_KEPT = 1024
_ENDING_SECONDS = 2.0
"""What requests in work have at the end."""
_PROBES = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Seconds of silence, seconds between probes, and unanswered ones. Without them a line that a
firewall forgot while nobody read costs each request that takes it `ANSWER_SECONDS`."""
_PERHAPS_OTHERWISE = (301, 307, 400, 401, 403)
"""Statuses that a request by s3fs may not have."""
_NAMES = {
    "ETag": "ETag",
    "Content-Range": "ContentRange",
    "x-amz-server-side-encryption": "ServerSideEncryption",
    "x-amz-server-side-encryption-customer-algorithm": "SSECustomerAlgorithm",
}
"""What botocore calls a header."""

Answer = tuple[dict[str, Any], bytes]


class DirectGets:
    """Those of one filesystem, in one process."""

    def __init__(self, filesystem: Any) -> None:
        self._filesystem = filesystem
        self._by_bucket: dict[str, bool] = {}
        """Whether a bucket is read so; none is that was not read by s3fs before."""
        self._signed: dict[str, tuple[float, str]] = {}
        """When each object's address was signed, and that."""
        self._lines: urllib3.PoolManager | None = None
        self._threads = ThreadPoolExecutor(CONNECTIONS, "distill-get")
        self._in_work: set[Future[Any]] = set()

    def close(self) -> None:
        """End the threads and close the lines; a store that is silent is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        _, unfinished = wait(self._in_work, _ENDING_SECONDS)
        if not unfinished:
            self._threads.shutdown()
        if self._lines is not None:
            self._lines.clear()

    def allow(self, bucket: str) -> None:
        """Read a bucket so from now on, unless that was refused."""
        self._by_bucket.setdefault(bucket, True)

    async def get(self, path: str, headers: dict[str, str]) -> Answer | None:
        """Return the answer in botocore's words, and its body; None where s3fs has to be asked.
        Raises ClientError for another status, BrokenBodyError, urllib3's errors."""
        bucket, _, key = path.partition("/")
        if not self._by_bucket.get(bucket):
            return None
        url = await self._address(path, bucket, key)
        if url is None:
            return None
        work = self._threads.submit(self._get, url, headers)
        self._in_work.add(work)
        work.add_done_callback(self._in_work.discard)
        status, said, content = await asyncio.wrap_future(work)
        if status in _PERHAPS_OTHERWISE:
            self._by_bucket[bucket] = False
            return None
        if status >= 300:
            raise _refusal(status, content)
        answer = {name: said[header] for header, name in _NAMES.items() if header in said}
        return answer, content

    async def _address(self, path: str, bucket: str, key: str) -> str | None:
        """The object's signed address; None where this way cannot read it."""
        if {".", ".."} & {*key.split("/")}:
            return None  # urllib3 would ask for another object
        now = time.monotonic()
        if path in self._signed:
            signed, kept = self._signed[path]
            if now - signed < _KEPT_SECONDS:
                return kept
        client = await self._filesystem.get_s3(bucket)
        client.meta.events.register_first("choose-signer.s3.GetObject", _signer, _signer.__name__)
        url: str = await client.generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=_SIGNED_SECONDS
        )
        if self._lines is None and not _has_more_to_say(self._filesystem, client):
            self._lines = _lines(client, url)
        if self._lines is None:
            self._by_bucket[bucket] = False
            return None
        while len(self._signed) >= _MOST_KEPT:
            self._signed.pop(next(iter(self._signed)))
        self._signed[path] = (now, url)
        return url

    def _get(self, url: str, headers: dict[str, str]) -> tuple[int, Any, bytes]:
        assert self._lines is not None
        answer = self._lines.request(
            "GET", url, headers=headers, preload_content=False, redirect=False
        )
        try:
            return answer.status, answer.headers, _whole_body(answer)
        except BaseException as error:
            answer.close()  # with the line, on which more would come
            if isinstance(error, OSError):  # TLS's errors too
                raise BrokenBodyError(f"the line broke: {error}") from error
            raise


def _is_unsigned(record: logging.LogRecord) -> bool:
    return "Signature=" not in record.getMessage()


# a program that logs all that its libraries say would log who may read an object for 15 minutes;
# of an odd header urllib3 warns, with the address, whatever is logged
for _name in ("urllib3.connectionpool", "urllib3.connection"):
    logging.getLogger(_name).addFilter(_is_unsigned)


def _signer(signature_version: Any, **_: Any) -> str | None:
    """Botocore signs addresses by version 2 where a region once took it; new buckets do not."""
    return "s3v4-query" if signature_version == "s3v4-query" else None


def _has_more_to_say(filesystem: Any, client: Any) -> bool:
    """Whether each GET is to say what an address does not, as whose the bucket must be."""
    members = client.meta.service_model.operation_model("GetObject").input_shape.members
    return any(name in members for name in filesystem.s3_additional_kwargs)


def _lines(client: Any, url: str) -> urllib3.PoolManager | None:
    """Lines as the client's own are, with its certificates; None where they lead by a proxy."""
    try:
        session = client._endpoint.http_session
        if session._proxy_config.proxy_url_for(url):
            return None
        context, _ = session._build_ssl_contexts(None)
        _ = urllib3.HTTPResponse()._fp
    except (AttributeError, TypeError, ValueError) as error:
        log.info("objects are read by s3fs alone, for aiobotocore or urllib3 changed: %s", error)
        return None
    limits = urllib3.Timeout(connect=transfers.CONNECT_SECONDS, read=transfers.ANSWER_SECONDS)
    return urllib3.PoolManager(
        maxsize=CONNECTIONS,
        retries=False,
        timeout=limits,
        ssl_context=context,
        socket_options=_socket_options(),
    )


def _socket_options() -> list[tuple[int, int, int]]:
    probes = [
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in _PROBES.items()
        if hasattr(socket, name)  # each system has its own
    ]
    default = urllib3.connection.HTTPConnection.default_socket_options
    return [*default, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *probes]


def _whole_body(answer: Any) -> bytes:
    """Read the body where it is to lie: urllib3's own ways copy it once or twice, 0.2 ms a MB."""
    response = answer._fp
    # not the header: one that stands beside chunks says nothing
    size_bytes = response.length
    if size_bytes is None:
        if answer.status < 300:
            raise BrokenBodyError("the store does not say how long the body is")
        return bytes(answer.read())
    body = io.BytesIO()
    if size_bytes:
        body.seek(size_bytes - 1)
        body.write(b"\0")
    pace = transfers.Pace(size_bytes)
    read_bytes = 0
    with body.getbuffer() as view:
        while read_bytes < size_bytes:
            # what has come, so that a trickle is seen
            more = response.fp.readinto1(view[read_bytes:])
            if not more:
                break
            read_bytes += more
            pace.check(read_bytes)
    pace.end(read_bytes)
    # nothing is left on the line, which the next request may have
    response.close()
    answer.release_conn()
    # without a copy, since nothing else has a view of it
    return body.getvalue()


def _refusal(status: int, content: bytes) -> ClientError:
    """The error that botocore makes of such an answer."""
    words = content.decode("utf-8", "replace")
    said = dict(re.findall(r"<(Code|Message)>(.*?)</", words))
    answer = {"Error": said, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetObject")
