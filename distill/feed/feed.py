"""Batches for one training worker: its lanes of a source, read ahead in threads, the same rows whatever the number of workers.

Where a source's chunks fit into its cache (`cache`), later epochs read nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from distill.feed.cache import ChunkCache
from distill.feed.disk_cache import DiskCache
from distill.feed.order import Order, Window
from distill.feed.source import Arrays, Source, concatenate

_THREADS = 4


class Feed:
    """Yields the batches of one source, epoch after epoch, for the lanes of one worker."""

    def __init__(self, source: Source, order: Order, *, rank: int, workers: int, disk: DiskCache | None = None) -> None:
        self.order, self.cache = order, ChunkCache(source, disk)
        self.lanes = range(rank, order.lanes, workers)
        self._threads = ThreadPoolExecutor(_THREADS)

    def batches(self, first_step: int = 0) -> Iterator[Arrays]:
        """Batches from a global step on, without end. Each has `lane_rows` rows a lane; padding rows have weight 0 and row −1."""
        epoch, step = divmod(first_step, self.order.steps_per_epoch)
        while True:
            lanes = [self._lane(epoch, lane, step) for lane in self.lanes]
            for _ in range(step, self.order.steps_per_epoch):
                yield concatenate([next(lane) for lane in lanes])
            epoch, step = epoch + 1, 0

    def close(self) -> None:
        """End the reading threads."""
        self._threads.shutdown(cancel_futures=True)

    def _lane(self, epoch: int, lane: int, first_step: int) -> Iterator[Arrays]:
        """One lane's share of each batch of an epoch, from a step on; padded when its rows are over."""
        size, skip = self.order.lane_rows, first_step * self.order.lane_rows
        left: Arrays | None = None
        for rows in self._ahead(self.order.windows(epoch, lane)):
            count = len(rows["row"])
            start, skip = min(skip, count), max(0, skip - count)
            if left is not None:  # only what completes a share is copied, not the whole window
                stop = min(count, start + size - len(left["row"]))
                left, start = concatenate([left, _part(rows, start, stop)]), stop
                if len(left["row"]) == size:
                    yield left
                    left = None
            while count - start >= size:
                yield _part(rows, start, start + size)
                start += size
            if start < count:
                left = _part(rows, start, count)
        empty = left if left is not None else self._nothing()
        while True:
            yield _padded(empty, size)
            empty = _part(empty, 0, 0)

    def _ahead(self, windows: Iterator[Window]) -> Iterator[Arrays]:
        """The rows of each window, the next one being read while this one is used."""
        waiting: Future[Arrays] | None = None
        for window in windows:
            coming = self._threads.submit(self._read, window)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()

    def _read(self, window: Window) -> Arrays:
        """The window's rows in its order, each written once, to where it belongs."""
        places = np.empty_like(window.positions)
        places[window.positions] = np.arange(len(places))
        made: Arrays = {}
        first = 0
        for chunk in window.chunks:
            rows = self.cache(chunk)
            made = made or {name: np.empty((len(places), *like.shape[1:]), like.dtype) for name, like in rows.items()}
            for name, values in rows.items():
                made[name][places[first : first + chunk.rows]] = values
            first += chunk.rows
        return made

    def _nothing(self) -> Arrays:
        """Arrays of no rows, for a lane that has none."""
        return _part(self.cache(self.order.chunks[0]), 0, 0)


def _part(rows: Arrays, start: int, stop: int) -> Arrays:
    return {name: values[start:stop] for name, values in rows.items()}


def _padded(rows: Arrays, size: int) -> Arrays:
    missing = size - len(rows["row"])
    padded = {
        name: np.concatenate([values, np.zeros((missing, *values.shape[1:]), values.dtype)])
        for name, values in rows.items()
    }
    padded["row"][size - missing :] = -1
    return padded
