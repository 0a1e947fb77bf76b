"""GETs of S3 objects by plain HTTP on the calling thread, at addresses that s3fs signs.

A request through s3fs costs 2 ms of CPU in botocore, its body is copied four times on the one
thread of the event loop, and to wait for that loop takes 0.3 ms. None of it is needed for a GET:
the client signs an object's address once (`generate_presigned_url`), after which any range of any
version is asked for by urllib3, which botocore brings, and a body goes from the socket to its bytes
while Python does something else.

Not Arrow's client, which is no quicker: it has no `If-Match`, so that a file replaced meanwhile is
read as a mixture of two; it asks for the size before each object; and its own retries and time-outs
would stand beside ours. obstore takes 0.3 ms where this takes 0.6, but for 16 ranges of 1 MB 8.5 ms
of CPU where this takes 9.5, which is not worth another library with an event loop of its own.

What this way cannot do goes s3fs's: keys of customers, requester pays and whatever else is said
with each request, proxies, keys with "." or ".." for a folder, the first GET of a bucket (which
finds its region), whatever is refused here, and all where the libraries' inner parts that this way
needs have other names. What s3fs is refused as well says nothing of this way; a bucket that gives
s3fs what it refused here, as one that takes no signed addresses, is read by s3fs alone for a minute.

A length that is announced is believed as far as it was asked for, and beyond as it comes.
"""

from __future__ import annotations

import io
import logging
import math
import re
import socket
import time
from collections.abc import Callable
from typing import Any

import urllib3
from botocore.exceptions import ClientError

from distill.storage import transfers
from distill.storage.answers import BrokenBodyError
from distill.storage.request_counts import count

log = logging.getLogger(__name__)

_SIGNED_SECONDS = 900
_KEPT_SECONDS = 300
"""Identities are renewed ten minutes before they end, so an address never outlives its own."""
_MOST_KEPT = 1024
_REFUSED_SECONDS = 60
"""For which a bucket is read by s3fs alone, as an address may be refused whose key was renewed."""
_STEP_BYTES = 64 << 20
"""What is made room for before it has come."""
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
"""In botocore's words, and the body."""


class DirectGets:
    """Those of one filesystem, in one process."""

    def __init__(self, filesystem: Any) -> None:
        self._filesystem = filesystem
        self._from: dict[str, float] = {}
        """When each bucket may be read so; none that was not read by s3fs before."""
        self._signed: dict[str, tuple[float, str]] = {}
        """When each object's address was signed, and that."""
        self._lines: urllib3.PoolManager | None = None

    def get(
        self,
        path: str,
        headers: dict[str, str],
        by_s3fs: Callable[[], Answer],
        most_bytes: float = math.inf,
    ) -> Answer:
        """Return the answer of the object, and of `by_s3fs()` where this way ends. Raises what that
        does, ClientError for another status, BrokenBodyError, urllib3's errors."""
        bucket = path.partition("/")[0]
        url = None
        if time.monotonic() >= self._from.get(bucket, math.inf):
            url = self._address(path)
        if url is not None:
            status, said, content = self._request(url, headers, most_bytes)
            if status not in _PERHAPS_OTHERWISE:
                if status >= 300:
                    raise _refusal(status, content)
                found = {name: said[header] for header, name in _NAMES.items() if header in said}
                return found, content
            self._signed.pop(path, None)
            count("get")  # one more
        answer = by_s3fs()
        self._from.setdefault(bucket, 0.0)
        if url is not None:
            self._from[bucket] = time.monotonic() + _REFUSED_SECONDS
        return answer

    def _address(self, path: str) -> str | None:
        """The object's signed address; None where this way cannot read it."""
        if {".", ".."} & {*path.split("/")}:
            return None  # urllib3 would ask for another object
        signed, url = self._signed.get(path, (-math.inf, None))
        if time.monotonic() - signed < _KEPT_SECONDS:
            return url
        new: str | None = transfers.result_of(self._filesystem, self._sign(path))
        return new

    async def _sign(self, path: str) -> str | None:
        bucket, _, key = path.partition("/")
        client = await self._filesystem.get_s3(bucket)
        client.meta.events.register_first("choose-signer.s3.GetObject", _signer, _signer.__name__)
        url: str = await client.generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=_SIGNED_SECONDS
        )
        if self._lines is None and not _has_more_to_say(self._filesystem, client):
            self._lines = _lines(client, url)
        if self._lines is None:
            self._from[bucket] = math.inf
            return None
        while len(self._signed) >= _MOST_KEPT:
            # a thread that was refused may have dropped it
            self._signed.pop(next(iter(self._signed)), None)
        self._signed[path] = (time.monotonic(), url)
        return url

    def _request(
        self, url: str, headers: dict[str, str], most_bytes: float
    ) -> tuple[int, Any, bytes]:
        assert self._lines is not None
        answer = self._lines.request(
            "GET", url, headers=headers, preload_content=False, redirect=False
        )
        try:
            return answer.status, answer.headers, _whole_body(answer, most_bytes)
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
        maxsize=transfers.CONNECTIONS,
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


def _whole_body(answer: Any, most_bytes: float) -> bytes:
    """Read the body where it is to lie: urllib3's own ways copy it once or twice, 0.2 ms a MB."""
    response = answer._fp
    # not the header: one that stands beside chunks says nothing
    size_bytes = response.length
    is_given = answer.status < 300
    if size_bytes is None:
        if is_given:
            raise BrokenBodyError("the store does not say how long the body is")
        return bytes(answer.read())
    if is_given and size_bytes > most_bytes:
        raise BrokenBodyError(
            f"{size_bytes:,} bytes are to come where {most_bytes:,} were asked for"
        )
    pace = transfers.Pace(size_bytes)
    body = io.BytesIO()
    read_bytes = 0
    while read_bytes < size_bytes:
        stop = min(size_bytes, read_bytes + _STEP_BYTES)
        body.seek(stop - 1)
        body.write(b"\0")
        with body.getbuffer() as view:
            read_bytes = _fill(view, read_bytes, response.fp, pace)
        if read_bytes < stop:
            break
    pace.end(read_bytes)
    # nothing is left on the line, which the next request may have
    response.close()
    answer.release_conn()
    # without a copy, since nothing else has a view of it
    return body.getvalue()


def _fill(view: memoryview, start: int, source: Any, pace: transfers.Pace) -> int:
    """Read from `start` on; return where what has come ends."""
    # what has come, so that a trickle is seen
    while start < len(view) and (more := source.readinto1(view[start:])):
        start += more
        pace.check(start)
    return start


def _refusal(status: int, content: bytes) -> ClientError:
    """The error that botocore makes of such an answer."""
    words = content.decode("utf-8", "replace")
    said = dict(re.findall(r"<(Code|Message)>(.*?)</", words))
    answer = {"Error": said, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetObject")
