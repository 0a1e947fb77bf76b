"""A prefix of an S3 bucket. Endpoint, region, profile and credentials come from the environment, as
every AWS client reads them.

**The client is botocore's own**, one a process, used by all threads. Measured beside s3fs and
Arrow's S3FileSystem against Ceph (tests/benchmarks/results/reads.md): it takes about half of s3fs's
time. Arrow's takes six times ours for 50 KB and, from 1 MB on, 0.4–0.9 of it, for it spends 1–2 ms
less of CPU a request: a fragment costs two or three requests, so some 5 ms beside the seconds of
its labelling. That does not pay for a second client, which does not read AWS_ENDPOINT_URL (pyarrow
26: the two halves of a job could speak to two stores), retries by itself, has no read time-out on
Linux and does not tell how often it asked. s3fs retries at two levels (5 times its own around
botocore's 5) and lives on an event loop that a fork loses. With one client there is one chain of
credentials, one place that retries, one translation of errors, and one hook that sees every request
(`request_counts`).

**Faults.** The client asks once; `retry.until_answered` asks again (after which answers:
`s3_errors`). Nothing hangs: connecting, each send and each receive have time-outs, and a body that
trickles below `SLOWEST_BYTES_PER_SECOND` is given up and asked for again.

**A body is whole or an error.** Its length is compared with what the store announced. A whole
object of at most 1 MiB (every control object) is also compared with the store's MD5 (the ETag of
such objects, unless encrypted with keys of KMS or of the customer): bytes that differ are read
again, and believed when they come the same twice, since a few stores' ETag is no MD5. Larger
objects carry digests of their own in commits; a pool's Parquet pages may.

**Conditional put.** `create` is `If-None-Match: *`. A 412 to the first request is a lost race. A
412 after an unanswered request may be this writer's own object, stored before the line broke, so
the object is read and compared.

**A reader** (`open`) takes the last 64 KB with its first request, which tells size and ETag too: a
Parquet file costs one request for its footer. All further requests carry `If-Match`, so that a file
replaced meanwhile is an error rather than a mixture of two.

Listings are never cached (another worker may have committed a moment ago), and stream: a page of
1,000 keys is in memory at a time. A client does not survive a fork (two processes would share a
line); the child makes its own.
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any, BinaryIO, TypeVar, cast

from botocore.exceptions import ClientError

from distill.storage.base import CONDITIONAL_LIMIT_BYTES, ObjectMeta, ObjectMissingError, Storage
from distill.storage.range_reader import TAIL_BYTES, RangeReader
from distill.storage.request_counts import count
from distill.storage.retry import until_answered
from distill.storage.s3_errors import (
    FAILED,
    BrokenBodyError,
    PreconditionError,
    as_storage_error,
    is_empty_object,
    passing,
)

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
PATIENCE_SECONDS = 30.0
SLOWEST_BYTES_PER_SECOND = 32_000
_PIECE_BYTES = 1 << 20
_CONNECTIONS = 64  # a thread beyond that opens a line for each request
_KINDS = {"GET": "get", "HEAD": "get", "PUT": "put", "POST": "put", "DELETE": "delete"}

T = TypeVar("T")


@functools.cache
def _client() -> Any:
    import botocore.config
    import botocore.session

    settings = botocore.config.Config(
        retries={"total_max_attempts": 1},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=ANSWER_SECONDS,
        max_pool_connections=_CONNECTIONS,
        response_checksum_validation="when_required",  # bodies are read and checked by `_body`
    )
    client = botocore.session.get_session().create_client("s3", config=settings)
    client.meta.events.register("before-send.s3", _count_request)
    return client


os.register_at_fork(after_in_child=_client.cache_clear)


class S3Storage(Storage):
    """Objects are keys below `path`, which is `bucket/prefix`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.uri = f"s3://{path}"
        self._bucket, _, self._prefix = path.partition("/")

    def folder(self, *names: str) -> S3Storage:
        return S3Storage("/".join([self.path, *names]))

    def walk(self) -> Iterator[ObjectMeta]:
        below = f"{self._prefix}/" if self._prefix else ""
        found = False
        page: dict[str, Any] = {"NextContinuationToken": None}
        while "NextContinuationToken" in page:
            page = self._list(below, page["NextContinuationToken"])
            for status in page.get("Contents", ()):
                found = True
                key = status["Key"].removeprefix(below)
                if not status["Key"].endswith("/"):  # by such a one a console shows a folder
                    yield ObjectMeta(key, int(status["Size"]), status["ETag"].strip('"'))
        if not found and self._prefix:
            yield from self._itself()

    def entry(self, key: str) -> ObjectMeta:
        def ask(name: str, where: str) -> ObjectMeta:
            status = _answered(where, lambda: _client().head_object(Bucket=self._bucket, Key=name))
            return ObjectMeta(key, int(status["ContentLength"]), status["ETag"].strip('"'))

        return self._found(key, ask)

    def open(self, key: str) -> BinaryIO:
        return self._found(key, self._open)

    def read(self, key: str) -> bytes:
        return self._found(key, lambda name, where: _answered(where, lambda: self._whole(name)))

    def put(self, key: str, content: bytes) -> None:
        _answered(self.url(key), lambda: self._put(key, content))

    def create(self, key: str, content: bytes) -> bool:
        tries = 0

        def ask() -> None:
            nonlocal tries
            tries += 1
            self._put(key, content, IfNoneMatch="*")

        try:
            _answered(self.url(key), ask)
        except PreconditionError:
            return tries > 1 and self.read_or_none(key) == content
        return True

    def delete(self, key: str) -> None:
        with suppress(ObjectMissingError):
            _answered(
                self.url(key),
                lambda: _client().delete_object(Bucket=self._bucket, Key=self._name(key)),
            )

    def _name(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def _found(self, key: str, get: Callable[[str, str], T]) -> T:
        """`get(name, where)` of the object, which may be this folder itself."""
        try:
            return get(self._name(key), self.url(key))
        except ObjectMissingError:
            if key != self._prefix.rsplit("/", 1)[-1]:
                raise
            return get(self._prefix, self.uri)

    def _list(self, below: str, token: str | None) -> dict[str, Any]:
        more = {"ContinuationToken": token} if token else {}
        return _answered(
            self.uri, lambda: _client().list_objects_v2(Bucket=self._bucket, Prefix=below, **more)
        )

    def _itself(self) -> Iterator[ObjectMeta]:
        """The folder as one object, if it is that."""
        with suppress(ObjectMissingError):
            yield self.entry(self._prefix.rsplit("/", 1)[-1])

    def _put(self, key: str, content: bytes, **condition: str) -> None:
        _client().put_object(Bucket=self._bucket, Key=self._name(key), Body=content, **condition)

    def _whole(self, name: str) -> bytes:
        answer = self._get(name)
        content = _body(answer)
        if _digest_differs(answer, content):
            again = _body(self._get(name, IfMatch=answer["ETag"]))
            if again != content:
                digest = hashlib.sha256(content).hexdigest()
                raise BrokenBodyError(f"two reads differ: {digest[:12]}")
        return content

    def _get(self, name: str, **options: str) -> dict[str, Any]:
        answer: dict[str, Any] = _client().get_object(Bucket=self._bucket, Key=name, **options)
        return answer

    def _open(self, name: str, where: str) -> BinaryIO:
        """A reader that holds the object's end already."""
        size, etag, tail = _answered(where, lambda: self._end(name))

        def fetch(start: int, stop: int) -> bytes:
            options = {"Range": f"bytes={start}-{stop - 1}", "IfMatch": etag}
            return _answered(where, lambda: _body(self._get(name, **options)))

        return cast("BinaryIO", RangeReader(fetch, size, tail))

    def _end(self, name: str) -> tuple[int, str, bytes]:
        """Size, ETag and the last bytes of an object."""
        try:
            answer = self._get(name, Range=f"bytes=-{TAIL_BYTES}")
        except ClientError as error:
            if is_empty_object(error):
                return 0, "", b""
            raise
        tail = _body(answer)
        content_range = answer.get("ContentRange", f"/{len(tail)}")
        _, _, size = content_range.rpartition("/")
        return int(size), answer["ETag"], tail


def _answered(where: str, ask: Callable[[], T]) -> T:
    """What the store says in the end. Raises ObjectMissingError, PreconditionError or StorageError."""
    try:
        return until_answered(ask, where, passing)
    except FAILED as error:
        raise as_storage_error(error, where) from error


def _body(answer: dict[str, Any]) -> bytes:
    """The whole body, or BrokenBodyError. `read1` gives what has come, so that a trickle is seen."""
    stream = answer["Body"]._raw_stream
    announced = int(answer["ContentLength"])
    began = time.monotonic()
    pieces = []
    read_bytes = 0
    with closing(stream):
        while piece := stream.read1(_PIECE_BYTES):
            pieces.append(piece)
            read_bytes += len(piece)
            seconds = time.monotonic() - began
            if seconds > PATIENCE_SECONDS + read_bytes / SLOWEST_BYTES_PER_SECOND:
                raise BrokenBodyError(
                    f"{read_bytes:,} of {announced:,} bytes came in {seconds:.0f} s"
                )
    if read_bytes != announced:
        raise BrokenBodyError(f"the body broke off after {read_bytes:,} of {announced:,} bytes")
    count("bytes_read", read_bytes)
    # a body of one piece is not copied
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _digest_differs(answer: dict[str, Any], content: bytes) -> bool:
    """Whether a small object's ETag says other bytes; large ones, parts ("…-3") and encrypted ones
    say nothing."""
    etag = str(answer["ETag"]).strip('"')
    by_store = str(answer.get("ServerSideEncryption", ""))
    encrypted = "SSECustomerAlgorithm" in answer or by_store.startswith("aws:kms")
    if len(content) > CONDITIONAL_LIMIT_BYTES or len(etag) != 32 or encrypted:
        return False
    return hashlib.md5(content, usedforsecurity=False).hexdigest() != etag


def _count_request(request: Any, **_: object) -> None:
    """botocore's hook: a request goes out now."""
    count("list" if "list-type=2" in request.url else _KINDS[request.method])
    if request.method == "PUT":
        count("bytes_written", int(request.headers.get("Content-Length", 0)))
