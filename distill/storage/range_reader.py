"""A file whose bytes are fetched by range, for readers that seek.

The object's last bytes are held from the start, where Parquet and Arrow IPC keep their index. A
read of any place fetches exactly what is asked; a read that goes on where the last one ended
fetches twice as much as the last fetch, up to 8 MiB, so that reading from front to back takes few
requests and seeking takes few bytes. One thread at a time, like any file.
"""

from __future__ import annotations

import io
from collections.abc import Callable

TAIL_BYTES = 64 << 10
_LONGEST_AHEAD_BYTES = 8 << 20


class RangeReader(io.RawIOBase):
    """`fetch(start, stop)` gives those bytes of an object of `size_bytes`, which ends in `tail`."""

    def __init__(self, fetch: Callable[[int, int], bytes], size_bytes: int, tail: bytes) -> None:
        self._fetch, self._size_bytes = fetch, size_bytes
        self._at = self._ended = 0
        self._tail = (size_bytes - len(tail), tail)
        self._held = (0, b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(
            0,
            offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence],
        )
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = (
            self._size_bytes if size is None or size < 0 else min(self._at + size, self._size_bytes)
        )
        if stop <= self._at:
            return b""
        content = self._between(self._at, stop)
        self._at = self._ended = stop
        return content

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _between(self, start: int, stop: int) -> bytes:
        for first, content in (self._tail, self._held):
            if first <= start and stop <= first + len(content):
                return content[start - first : stop - first]
        ahead = min(2 * len(self._held[1]), _LONGEST_AHEAD_BYTES) if start == self._ended else 0
        content = self._fetch(start, min(max(stop, start + ahead), self._size_bytes))
        self._held = (start, content) if len(content) <= _LONGEST_AHEAD_BYTES else (0, b"")
        return content[: stop - start]
