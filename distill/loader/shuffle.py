"""The windows of a worker's lanes, read ahead in threads.

All lanes go from window to window at about the same time. So the first chunks of all lanes' windows
are read first, then the second ones, and so on: in a block (`order`) they are parts of the same row
groups, of which memory then holds few decoded at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from distill.loader.dataset import Arrays
from distill.loader.sampler import WINDOW_CHUNKS, Chunk, Sampler, Window

Share = list[tuple[Arrays, npt.NDArray[np.int64]]]
"""What one lane gives to one batch: arrays of some chunks, and which of their rows."""

_Cut = tuple[Window, int, int]
"""A window, the lane's rows before it, and its first row that is wanted."""


class WindowPrefetcher:
    """One epoch of some lanes, from a step on. For one thread."""

    def __init__(
        self,
        order: Sampler,
        epoch: int,
        lanes: Sequence[int],
        first_step: int,
        *,
        load: Callable[[Chunk], Arrays],
        threads: Executor,
    ) -> None:
        self.size, self.load, self.threads = order.lane_rows, load, threads
        self._left = [_cut(order.windows(epoch, lane), first_step * self.size) for lane in lanes]
        self._coming: list[deque[Future[list[Share]]]] = [deque() for _ in lanes]

    def of_lane(self, number: int) -> Iterator[list[Share]]:
        """The shares of each window of one of the lanes, the next window being read while this one
        is used."""
        mine = self._coming[number]
        while True:
            while len(mine) < 2 and self._read_next():
                pass
            if not mine:
                return
            yield mine.popleft().result()

    def _read_next(self) -> bool:
        """Begin to read the next window of all lanes that have not two ahead; false where there is
        none."""
        cuts = [
            next(left, None) if len(coming) < 2 else None
            for left, coming in zip(self._left, self._coming, strict=True)
        ]
        chunks: list[list[Future[Arrays]]] = [[] for _ in cuts]
        for place in range(WINDOW_CHUNKS):
            for cut, mine in zip(cuts, chunks, strict=True):
                if cut is not None and place < len(cut[0].chunks):
                    mine.append(self.threads.submit(self.load, cut[0].chunks[place]))
        for cut, mine, coming in zip(cuts, chunks, self._coming, strict=True):
            if (
                cut is not None
            ):  # behind its chunks in the threads' queue, so it waits for none that has no thread
                coming.append(self.threads.submit(_shares, *cut, mine, self.size))
        return any(cut is not None for cut in cuts)


def _cut(windows: Iterator[Window], skip: int) -> Iterator[_Cut]:
    """A lane's windows but for its first `skip` rows."""
    before = 0
    for window in windows:
        after = before + len(window.positions)
        if skip < after:
            yield window, before, max(0, skip - before)
        before = after


def _shares(
    window: Window, before: int, start: int, coming: Sequence[Future[Arrays]], size: int
) -> list[Share]:
    """Which rows of the window's chunks make each share of `size` rows; the lane's rows are cut, so
    the first and the last may be parts of one.

    A share is in the order of its chunks, which the sum over a batch does not ask for: rows are
    copied as memory has them.
    """
    chunks, rows = [each.result() for each in coming], len(window.positions)
    shares = np.arange(before + start, before + rows) // size
    shares -= shares[0]
    places = np.sort(shares * rows + window.positions[start:])  # by share, chunk and row
    firsts = np.cumsum([0, *(chunk.rows for chunk in window.chunks)])
    borders = np.searchsorted(places, np.arange(shares[-1] + 1)[:, None] * rows + firsts)
    return [
        [
            (chunk, places[begin:end] - (share * rows + first))
            for chunk, first, (begin, end) in zip(
                chunks, firsts.tolist(), pairwise(each), strict=False
            )
            if begin < end
        ]
        for share, each in enumerate(borders.tolist())
    ]
