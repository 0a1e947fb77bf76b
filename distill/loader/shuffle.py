"""The windows of a worker's lanes, read ahead. All lanes go from window to window at about the same
time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from distill.loader.dataset import Arrays
from distill.loader.sampler import WINDOW_CHUNKS, Chunk, Sampler, Window

# the one that is used next, and one more; `dataset.LOADER_BYTES` counts on it
_WINDOWS_AHEAD = 2

Rows = npt.NDArray[np.int64]
Share = list[tuple[Arrays, Rows]]
"""What one lane gives to one batch: arrays of some chunks, and which of their rows."""


@dataclass(frozen=True)
class _WindowPart:
    """A window of one lane, from one of its rows on."""

    window: Window
    rows_before: int
    """The lane's rows before the window."""
    start: int
    """The first of the window's rows that is wanted."""
    number: int
    """Of the window among the lane's."""


class WindowPrefetcher:
    """One epoch of some lanes, from a step on. For one thread."""

    def __init__(
        self,
        sampler: Sampler,
        epoch: int,
        lanes: Sequence[int],
        first_step: int,
        *,
        load: Callable[[Chunk], Arrays],
        threads: Executor,
        padding: int | None = None,
    ) -> None:
        """`padding` ends the rows of text that are shorter than others."""
        self._sampler = sampler
        self._epoch = epoch
        self._padding = padding
        self._lane_rows = sampler.lane_rows
        self._load = load
        self._threads = threads
        skip = first_step * sampler.lane_rows
        self._unread = [_without_first(sampler.windows(epoch, lane), skip) for lane in lanes]
        self._ahead: list[deque[Future[list[Share]]]] = [deque() for _ in lanes]

    def of_lane(self, number: int) -> Iterator[list[Share]]:
        """Yield the shares of each window of one of the lanes, the next window being read while
        this one is used."""
        ahead = self._ahead[number]
        while True:
            while len(ahead) < _WINDOWS_AHEAD and self._read_next():
                pass
            if not ahead:
                return
            yield ahead.popleft().result()

    def _read_next(self) -> bool:
        """Begin to read the next window of all lanes that have too few ahead; false where there is
        none."""
        parts: dict[int, _WindowPart] = {}
        for lane, ahead in enumerate(self._ahead):
            part = next(self._unread[lane], None) if len(ahead) < _WINDOWS_AHEAD else None
            if part is not None:
                parts[lane] = part
        chunks = self._read_chunks(parts)
        for lane, part in parts.items():
            # behind its chunks in the threads' queue, so it waits for none that has no thread
            shares = self._threads.submit(self._shares, part, chunks[lane])
            self._ahead[lane].append(shares)
        return bool(parts)

    def _shares(self, part: _WindowPart, coming: Sequence[Future[Arrays]]) -> list[Share]:
        chunks = [each.result() for each in coming]
        positions = part.window.positions
        if self._sampler.like_length and self._padding is not None:
            lengths = np.concatenate([text_lengths(each, self._padding) for each in chunks])
            order = partial(self._sampler.share_order, self._epoch, part.number)
            positions = like_length(positions, lengths, part.rows_before, self._lane_rows, order)
        return _shares(part, positions, chunks, self._lane_rows)

    def _read_chunks(self, parts: dict[int, _WindowPart]) -> dict[int, list[Future[Arrays]]]:
        """Begin to read the first chunks of all lanes' windows, then the second ones, and so on."""
        # not lane by lane: in a block (`sampler`) these chunks are parts of the same row groups, of
        # which memory then holds few decoded at a time
        coming: dict[int, list[Future[Arrays]]] = {lane: [] for lane in parts}
        for number in range(WINDOW_CHUNKS):
            for lane, part in parts.items():
                if number < len(part.window.chunks):
                    chunk = part.window.chunks[number]
                    coming[lane].append(self._threads.submit(self._load, chunk))
        return coming


def _without_first(windows: Iterator[Window], skip: int) -> Iterator[_WindowPart]:
    """A lane's windows without its first `skip` rows."""
    before = 0
    for number, window in enumerate(windows):
        after = before + len(window.positions)
        if skip < after:
            yield _WindowPart(window, before, max(0, skip - before), number)
        before = after


def text_lengths(arrays: Arrays, padding: int) -> Rows:
    """Return how many numbers of each row are no padding, (B,)."""
    numbers: npt.NDArray[np.integer] = arrays["features"]  # type: ignore[assignment]
    lengths: Rows = (numbers > padding).sum(axis=1)
    return lengths


def like_length(
    positions: Rows,
    lengths: Rows,
    rows_before: int,
    lane_rows: int,
    order: Callable[[int], Rows],
) -> Rows:
    """Return a window's positions so that each share has rows of like length, by the lengths of the
    rows that positions count; `order(n)` permutes n shares. Rows of a share that begins in the
    window before, or ends in the next one, stay as they were drawn."""
    head = -rows_before % lane_rows
    shares = max(0, len(positions) - head) // lane_rows
    tail = head + shares * lane_rows
    middle = positions[head:tail]
    by_length = middle[np.argsort(lengths[middle], kind="stable")]
    permuted = by_length.reshape(shares, lane_rows)[order(shares)]
    return np.concatenate([positions[:head], permuted.ravel(), positions[tail:]])


def _shares(
    part: _WindowPart, positions: Rows, chunks: Sequence[Arrays], lane_rows: int
) -> list[Share]:
    """Which rows of the window's chunks make each share of `lane_rows` rows; the lane's rows are
    cut, so the first and the last share may be parts of one."""
    window = part.window
    rows = len(positions)
    first_row = part.rows_before + part.start
    share_of_row = np.arange(first_row, part.rows_before + rows) // lane_rows
    share_of_row -= share_of_row[0]
    # one sort by (share, chunk, row): a share's rows are the numbers of its own range of `rows`. In
    # that order they are copied as memory has them, and the sum over a batch asks for no other
    keys = np.sort(share_of_row * rows + positions[part.start :])
    chunk_starts = np.cumsum([0, *(chunk.rows for chunk in window.chunks)])
    share_starts = np.arange(share_of_row[-1] + 1) * rows
    firsts = share_starts[:, None] + chunk_starts
    borders = np.searchsorted(keys, firsts)
    return [
        _share(keys, chunks, share_firsts, share_borders)
        for share_firsts, share_borders in zip(firsts.tolist(), borders.tolist(), strict=True)
    ]


def _share(
    keys: Rows, chunks: Sequence[Arrays], firsts: Sequence[int], borders: Sequence[int]
) -> Share:
    """The parts of one share. `firsts` are the keys of its chunks' first rows, `borders` where
    they stand among `keys`; both have the end of the last chunk too."""
    share: Share = []
    for number, (begin, end) in enumerate(pairwise(borders)):
        if begin < end:
            share.append((chunks[number], keys[begin:end] - firsts[number]))
    return share
