"""A file whose bytes are fetched by range, for readers that seek.

The object's last bytes may be there from the start, where Parquet and Arrow IPC keep their index.
Ranges that a reader knows beforehand are fetched at once (`prefetch`). A read of any other place
fetches exactly what is asked; a read that goes on where the last one ended fetches twice as much as
the last fetch, up to 8 MiB, so that reading from front to back takes few requests and seeking takes
few bytes. One thread at a time, like any file.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import cast

from fsspec.utils import merge_offset_ranges

TAIL_BYTES = 64 << 10
_LONGEST_AHEAD_BYTES = 8 << 20
_GAP_BYTES = 64 << 10
"""Ranges that lie as near to each other are one request."""

Range = tuple[int, int]


class RangeReader(io.RawIOBase):
    """`fetch` gives the bytes of ranges of an object of `size_bytes`, which ends in `tail`."""

    def __init__(
        self, fetch: Callable[[Sequence[Range]], Sequence[bytes]], size_bytes: int, tail: bytes
    ) -> None:
        self._fetch = fetch
        self._size_bytes = size_bytes
        self._at = 0
        self._ended = 0
        """Where the last read ended."""
        self._tail = (size_bytes - len(tail), tail)
        self._prefetched: list[tuple[int, bytes]] = []
        """First byte and content of each piece of the last `prefetch`."""
        self._fetched = (0, b"")
        """First byte and content of the last fetch, read ahead included."""

    def prefetch(self, ranges: Sequence[Range]) -> None:
        """Fetch `ranges` (first byte, byte after the last), near ones together, all at once; they
        take the place of those prefetched before."""
        self._prefetched = []
        wanted = [each for each in ranges if each[0] < self._tail[0]]
        _, starts, stops = merge_offset_ranges(
            [""] * len(wanted),
            [start for start, _ in wanted],
            [stop for _, stop in wanted],
            max_gap=_GAP_BYTES,
            max_block=_LONGEST_AHEAD_BYTES,
        )
        contents = self._fetch(list(zip(starts, stops, strict=True)))
        self._prefetched = list(zip(starts, contents, strict=True))

    def close(self) -> None:
        self._fetched = (0, b"")
        self._prefetched = []
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origins = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}
        self._at = max(0, origins[whence] + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = self._size_bytes
        if size is not None and size >= 0:
            stop = min(self._at + size, stop)
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
        for first, content in self._prefetched:
            if first <= start and stop <= first + len(content):
                # a view: pages are many MB, and pyarrow takes one for bytes
                return cast("bytes", memoryview(content)[start - first : stop - first])
        for first, content in (self._tail, self._fetched):
            if first <= start and stop <= first + len(content):
                return content[start - first : stop - first]
        ahead = 0
        if start == self._ended:  # reading goes on
            ahead = min(2 * len(self._fetched[1]), _LONGEST_AHEAD_BYTES)
        end = min(max(stop, start + ahead), self._size_bytes)
        (content,) = self._fetch([(start, end)])
        self._fetched = (start, content) if len(content) <= _LONGEST_AHEAD_BYTES else (0, b"")
        return content[: stop - start]
