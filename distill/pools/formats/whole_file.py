"""The bytes of a file that has no index: read whole, and unpacked where it is packed. A file that
is cut off is an error, never fewer rows; packed bytes are never taken for text."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, cast

import pyarrow as pa

from distill.core.errors import PoolError

# Unpacked: no small hostile file fills the memory; larger shards should be several.
LARGEST_BYTES = 1 << 31
_PART_BYTES = 1 << 24
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# text holds no zero byte, and what is packed or binary has one near its head
_LOOKED_AT_BYTES = 1_024


@dataclass(frozen=True)
class _Packing:
    """One way in which files are packed."""

    name: str
    magic: bytes
    open: Callable[[BinaryIO], BinaryIO]


def _zstd(packed: BinaryIO) -> BinaryIO:
    return cast("BinaryIO", pa.CompressedInputStream(packed, "zstd"))


def _gzip(packed: BinaryIO) -> BinaryIO:
    return cast("BinaryIO", gzip.GzipFile(fileobj=packed))


def _bzip2(packed: BinaryIO) -> BinaryIO:
    return cast("BinaryIO", bz2.BZ2File(packed))


def _xz(packed: BinaryIO) -> BinaryIO:
    return cast("BinaryIO", lzma.LZMAFile(packed))


_PACKINGS = {
    ".gz": _Packing("gzip", b"\x1f\x8b", _gzip),
    ".zst": _Packing("zstd", b"\x28\xb5\x2f\xfd", _zstd),
    ".bz2": _Packing("bzip2", b"BZh91AY&SY", _bzip2),
    ".xz": _Packing("xz", b"\xfd7zXZ\x00", _xz),
}
PACKED_ENDINGS = tuple(_PACKINGS)  # endings of packed files, in lower case, with their dot


def read_whole(source: pa.NativeFile, where: str, encoding: str = "utf-8") -> bytes:
    """Read the content as UTF-8 without a byte-order mark. Raises PoolError."""
    content = read_unpacked(source, where)
    if encoding != "utf-8":
        return _as_utf8(content, where, encoding)
    if content.startswith(_UTF16_MARKS):
        raise PoolError(
            f"{where}: is UTF-16 text. Save it as UTF-8; of CSV files the pool may say"
            ' csv = { encoding = "utf-16" }.'
        )
    if b"\0" in content[:_LOOKED_AT_BYTES]:
        raise PoolError(
            f"{where}: is no text, but binary or packed in a way that is not known here"
            f" ({', '.join(PACKED_ENDINGS)}). Unpack it, or correct the pool's format."
        )
    return content.removeprefix(_BYTE_ORDER_MARK)


def read_unpacked(source: pa.NativeFile, where: str) -> bytes:
    """Read the content as it is stored, unpacked. Raises PoolError."""
    if source.size() > LARGEST_BYTES:
        raise _too_large(where)
    content: bytes = source.read()
    packing = _packing(content, where)
    return content if packing is None else _unpacked(content, where, packing)


def _packing(content: bytes, where: str) -> _Packing | None:
    """How the file is packed, by its content or its name."""
    for ending, packing in _PACKINGS.items():
        if content.startswith(packing.magic) or where.lower().endswith(ending):
            return packing
    return None


def _as_utf8(content: bytes, where: str, encoding: str) -> bytes:
    try:
        text = content.decode(encoding)
    except UnicodeError as error:
        message = f"{where}: is no text in {encoding}: {error}. Correct the pool's csv.encoding."
        raise PoolError(message) from None
    bare = text.removeprefix("\ufeff")
    return bare.encode("utf-8", "surrogatepass")


def _too_large(where: str) -> PoolError:
    gibibytes = LARGEST_BYTES >> 30
    return PoolError(
        f"{where}: holds more than {gibibytes} GiB of text, which is read whole."
        " Split it into several files."
    )


def _unpacked(packed: bytes, where: str, packing: _Packing) -> bytes:
    try:
        if not packed:
            raise EOFError("it is empty")
        with packing.open(io.BytesIO(packed)) as file:
            return _read_at_most(file, where)
    # OSError: there is no disk below, so it tells damage
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise PoolError(
            f"{where}: is no whole {packing.name} file: {error}. Replace it, or move it out of the"
            " pool."
        ) from None


def _read_at_most(file: BinaryIO, where: str) -> bytes:
    """All that a packed file holds, in parts."""
    # in parts, so that a file of terabytes is left at the limit
    parts: list[bytes] = []
    while part := file.read(_PART_BYTES):
        parts.append(part)
        if sum(map(len, parts)) > LARGEST_BYTES:
            raise _too_large(where)
    return b"".join(parts)
