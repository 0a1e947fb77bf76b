"""The bytes of a file that has no index: read whole, unpacked where it is gzip'ed. A file that is
cut off is an error, never fewer rows."""

from __future__ import annotations

import gzip
import io
import zlib

import pyarrow as pa

from distill.core.errors import PoolError

LARGEST_BYTES = 1 << 31
"""Unpacked. It keeps a small hostile file from filling the memory; larger shards should be several.
"""
_PART_BYTES = 1 << 24
_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_whole(source: pa.NativeFile, where: str) -> bytes:
    """Read the content as UTF-8 without a byte-order mark. Raises PoolError."""
    if source.size() > LARGEST_BYTES:
        raise _too_large(where)
    content: bytes = source.read()
    if content.startswith(_GZIP) or where.endswith(".gz"):
        content = _unpacked(content, where)
    return content.removeprefix(_BYTE_ORDER_MARK)


def _too_large(where: str) -> PoolError:
    return PoolError(
        f"{where}: holds more than {LARGEST_BYTES >> 30} GiB of text, which is read whole."
        " Split it into several files."
    )


def _unpacked(packed: bytes, where: str) -> bytes:
    try:
        if not packed:
            raise EOFError("it is empty")
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            return _read_at_most(file, where)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise PoolError(
            f"{where}: is no whole gzip file: {error}. Replace it, or move it out of the pool."
        ) from None


def _read_at_most(file: gzip.GzipFile, where: str) -> bytes:
    """All that a packed file holds, in parts, so that one of terabytes is left at the limit."""
    parts: list[bytes] = []
    while part := file.read(_PART_BYTES):
        parts.append(part)
        if sum(map(len, parts)) > LARGEST_BYTES:
            raise _too_large(where)
    return b"".join(parts)
