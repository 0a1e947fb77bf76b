"""GETs of S3 objects by plain HTTP on the calling thread, at addresses that s3fs signs.

A request through s3fs costs 2 ms of CPU in botocore, its body is copied four times on the one
thread of the event loop, and to wait for that loop takes 0.3 ms. None of it is needed for a GET:
the client signs an object's address once, after which any range of any version is asked for by
`lines`.

Not Arrow's client, which is no quicker: it has no `If-Match`, so that a file replaced meanwhile is
read as a mixture of two; it asks for the size before each object; and its own retries and time-outs
would stand beside ours. obstore is quicker by less than another event loop is worth
(tests/benchmarks/results/reads.md).

What this way cannot do goes s3fs's: keys of customers, requester pays and whatever else is said
with each request, proxies, keys with "." or ".." for a folder, the first GET of a bucket (which
finds its region), whatever is refused here, and all where the libraries' inner parts that this way
needs have other names. What s3fs is refused as well says nothing of this way; a bucket that gives
s3fs what it refused here, as one that takes no signed addresses, is read by s3fs alone for a minute.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError
from botocore.parsers import RestXMLParser

from distill.storage.lines import Lines
from distill.storage.request_counts import count
from distill.storage.transfers import result_of

log = logging.getLogger(__name__)

_SIGNED_SECONDS = 900
_KEPT_SECONDS = 300
"""Identities are renewed ten minutes before they end, so an address never outlives its own."""
_MOST_KEPT = 1024
_REFUSED_SECONDS = 60
"""For which a bucket is read by s3fs alone, as an address may be refused whose key was renewed."""
_PERHAPS_OTHERWISE = (301, 307, 400, 401, 403)
"""Statuses that a request by s3fs may not have."""

Found = tuple[Mapping[str, str], bytes]
"""Headers, by lower names, and body."""


class DirectGets:
    """Those of one filesystem, in one process."""

    def __init__(self, filesystem: Any) -> None:
        self._filesystem = filesystem
        self._from: dict[str, float] = {}
        """When each bucket may be read so; none that was not read by s3fs before."""
        self._signed: dict[str, tuple[float, str]] = {}
        """When each object's address was signed, and that."""
        self._lines: Lines | None = None

    def get(
        self,
        path: str,
        headers: dict[str, str],
        by_s3fs: Callable[[], Found],
        most_bytes: float = math.inf,
    ) -> Found:
        """Return the object, and what `by_s3fs()` returns where this way ends. Raises what that
        does, ClientError for another status, what `Lines.ask` does."""
        bucket = path.partition("/")[0]
        url = None
        if time.monotonic() >= self._from.get(bucket, math.inf):
            url = self._address(path)
        if url is not None:
            assert self._lines is not None
            status, said, content = self._lines.ask(
                "GET", url, headers=headers, most_bytes=most_bytes
            )
            if status not in _PERHAPS_OTHERWISE:
                if status >= 300:
                    raw = {"status_code": status, "headers": said, "body": content}
                    raise ClientError(RestXMLParser().parse(raw, None), "GetObject")
                return said, content
            self._signed.pop(path, None)
            count("get")  # one more
        found = by_s3fs()
        self._from.setdefault(bucket, 0.0)
        if url is not None:
            self._from[bucket] = time.monotonic() + _REFUSED_SECONDS
        return found

    def _address(self, path: str) -> str | None:
        """The object's signed address; None where this way cannot read it."""
        if {".", ".."} & {*path.split("/")}:
            return None  # urllib3 would ask for another object
        signed, url = self._signed.get(path, (-math.inf, None))
        if time.monotonic() - signed < _KEPT_SECONDS:
            return url
        new: str | None = result_of(self._filesystem, self._sign(path))
        return new

    async def _sign(self, path: str) -> str | None:
        bucket, _, key = path.partition("/")
        client = await self._filesystem.get_s3(bucket)
        client.meta.events.register_first("choose-signer.s3.GetObject", _signer, _signer.__name__)
        url: str = await client.generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=_SIGNED_SECONDS
        )
        # what each GET is to say beside its address, as whose the bucket must be
        members = client.meta.service_model.operation_model("GetObject").input_shape.members
        if self._lines is None and not self._filesystem.s3_additional_kwargs.keys() & members:
            self._lines = _lines(client, url)
        if self._lines is None:
            self._from[bucket] = math.inf
            return None
        if len(self._signed) >= _MOST_KEPT:
            self._signed.clear()
        self._signed[path] = (time.monotonic(), url)
        return url


def _signer(signature_version: Any, **_: Any) -> str | None:
    """Botocore signs addresses by version 2 where a region once took it; new buckets do not."""
    return "s3v4-query" if signature_version == "s3v4-query" else None


def _lines(client: Any, url: str) -> Lines | None:
    """Lines with the client's certificates; None where its own lead by a proxy."""
    try:
        session = client._endpoint.http_session
        if session._proxy_config.proxy_url_for(url):
            return None
        context, _ = session._build_ssl_contexts(None)
    except (AttributeError, TypeError, ValueError) as error:
        log.info("objects are read by s3fs alone, for aiobotocore changed: %s", error)
        return None
    return Lines(context=context)
