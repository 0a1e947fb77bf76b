"""Batches for one training worker: its lanes of a dataset, read ahead in threads, the same rows
whatever the number of workers.

Where a dataset's chunks fit into its cache (`cache`), later epochs read nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import numpy as np
import numpy.typing as npt

from distill.loader.cache import ChunkCache
from distill.loader.dataset import Arrays, Dataset
from distill.loader.disk_cache import DiskCache
from distill.loader.prefetch import prefetch, reading_threads
from distill.loader.sampler import Sampler
from distill.loader.shuffle import Share, WindowPrefetcher

_THREADS = 4


class Loader:
    """Yields the batches of one dataset, epoch after epoch, for the lanes of one worker."""

    def __init__(
        self,
        dataset: Dataset,
        sampler: Sampler,
        *,
        rank: int,
        workers: int,
        ahead: bool = True,
        threads: bool = True,
        disk: DiskCache | None = None,
    ) -> None:
        """`ahead`: a thread gathers the next batch while one is used. Where the steps themselves
        take the worker's core it takes time from them: 8 to 10% of a small network's step.
        `threads`: whether the user's code may read rows in threads (`WorkerContext.threads`)."""
        self.sampler = sampler
        self.padding = dataset.padding
        self.cache = ChunkCache(dataset, disk)
        # worker r of W takes the lanes ≡ r (mod W): the rows of a batch are the same for any W
        self.lanes = range(rank, sampler.lanes, workers)
        self._reading = reading_threads(_THREADS, debuggable=not threads)
        self._gathering = ThreadPoolExecutor(1) if ahead else None

    def batches(self, first_step: int = 0) -> Iterator[Arrays]:
        """Return batches from a global step on, without end. Each has `lane_rows` rows a lane;
        padding rows have weight 0 and row −1.

        A batch is good until the next one is asked for: its arrays are then written anew.
        """
        batches = self._gathered_batches(first_step)
        return prefetch(batches, self._gathering) if self._gathering else batches

    def close(self) -> None:
        """End the threads."""
        self._reading.shutdown(cancel_futures=True)
        if self._gathering is not None:
            self._gathering.shutdown(cancel_futures=True)

    def _gathered_batches(self, first_step: int) -> Iterator[Arrays]:
        epoch, epoch_step = divmod(first_step, self.sampler.steps_per_epoch)
        buffers: Iterator[Arrays] | None = None
        while True:
            for shares in self._epoch(epoch, epoch_step):
                if buffers is None:
                    # one is used while one is written
                    buffers = cycle([self._empty_batch(shares) for _ in range(2)])
                batch = next(buffers)
                self._gather(shares, batch, epoch)
                self._alter(batch, epoch)
                yield batch
            epoch += 1
            epoch_step = 0

    def _epoch(self, epoch: int, first_step: int) -> Iterator[list[Share]]:
        """Each step's shares, one of each lane."""
        windows = WindowPrefetcher(
            self.sampler,
            epoch,
            self.lanes,
            first_step,
            load=self.cache,
            threads=self._reading,
            padding=self.padding,
        )
        lanes = [self._lane(windows, number) for number in range(len(self.lanes))]
        for _ in range(first_step, self.sampler.steps_per_epoch):
            yield [next(lane) for lane in lanes]

    def _lane(self, windows: WindowPrefetcher, number: int) -> Iterator[Share]:
        """What one lane gives to each batch of an epoch; less than a share, or nothing, when its
        rows are over."""
        share: Share = []
        missing = self.sampler.lane_rows
        for shares in windows.of_lane(number):
            for part in shares:
                # a window may end within a share, which the next one goes on with
                share = share + part
                missing -= sum(len(rows) for _, rows in part)
                if not missing:
                    yield share
                    share = []
                    missing = self.sampler.lane_rows
        while True:
            yield share
            share = []

    def _gather(self, shares: Sequence[Share], batch: Arrays, epoch: int) -> None:
        """Write one batch: each row is copied once, from where it was decoded to where it is
        used."""
        lane_rows = self.sampler.lane_rows
        # all chunks have the same
        names: dict[str, str] = {}
        for number, share in enumerate(shares):
            start = number * lane_rows
            end = start + lane_rows
            for arrays, rows in share:
                names = names or self.cache.dataset.array_names(arrays, epoch)
                stop = start + len(rows)
                for name, seen in names.items():
                    # "clip", since the other modes copy twice
                    arrays[name].take(rows, 0, batch[seen][start:stop], "clip")
                start = stop
            # padding, where the lane's rows are over
            if start < end:
                for name, values in batch.items():
                    values[start:end] = self._padding_of(name)

    def _alter(self, batch: Arrays, epoch: int) -> None:
        """Alter the images of a batch as the epoch has it; the cache's stay as they are."""
        rows: npt.NDArray[np.int64] = batch["row"]  # type: ignore[assignment]
        self.cache.dataset.alter(batch["features"], rows, self.sampler.seed, epoch)

    def _padding_of(self, name: str) -> int:
        """What an array has in padding rows."""
        if name == "row":
            return -1
        # a padding row of text has no words
        return (self.padding or 0) if name == "features" else 0

    def _empty_batch(self, shares: Sequence[Share]) -> Arrays:
        """Arrays of a batch's shape, their numbers not set."""
        rows = len(self.lanes) * self.sampler.lane_rows
        chunks = [arrays for share in shares for arrays, _ in share]
        # a worker whose lanes are all empty learns the shapes from others' rows
        like = chunks[0] if chunks else self.cache(self.sampler.chunks[0])
        names = self.cache.dataset.array_names(like, epoch=0)
        return {
            seen: np.empty((rows, *like[name].shape[1:]), like[name].dtype)
            for name, seen in names.items()
        }
