"""The bytes of a file that has no index: read whole, unpacked where it is gzip'ed. A file that is cut off is an error, never fewer rows."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import BinaryIO

from distill.errors import PoolError

LARGEST_BYTES = 1 << 31
"""Unpacked. It keeps a small hostile file from filling the memory; larger shards should be several."""
_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_whole(source: BinaryIO, where: str) -> bytes:
    """The content as UTF-8 without a byte-order mark. Raises PoolError."""
    packed = source.read(LARGEST_BYTES)
    content = _unpacked(packed, where) if packed.startswith(_GZIP) or where.endswith(".gz") else packed
    if len(content) >= LARGEST_BYTES:
        raise PoolError(
            f"{where}: holds more than {LARGEST_BYTES >> 30} GiB of text, which is read whole. Split it into several files."
        )
    return content.removeprefix(_BYTE_ORDER_MARK)


def _unpacked(packed: bytes, where: str) -> bytes:
    try:
        if not packed:
            raise EOFError("it is empty")
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            return file.read(LARGEST_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise PoolError(f"{where}: is no whole gzip file: {error}. Replace it, or move it out of the pool.") from None
