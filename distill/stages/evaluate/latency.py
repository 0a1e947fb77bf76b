"""Milliseconds a row of each method, timed side by side on one CPU thread: the median of
interleaved rounds."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.labelers.base import Labeler, raw_predict
from distill.labelers.recipe import Recipe
from distill.labelers.registry import build_labeler
from distill.loader.dataset import Dataset
from distill.loader.sampler import Chunk
from distill.plan.candidates import Candidate

ROUNDS = 15
ROWS = 256
# a model of somebody else's may take seconds a row on one thread: it is given fewer rows, and no
# further round after so long
READY_ROWS = 8
MOST_SECONDS = 20.0


@dataclass(frozen=True)
class Stopwatch:
    """`stopwatch()` → milliseconds a row by method, on the machine where it is called."""

    source: Dataset
    chunk: Chunk
    candidates: tuple[Candidate, ...]

    def __call__(self) -> dict[str, float]:
        import torch

        torch.set_num_threads(1)
        batch = _batch(self.source.seen(self.chunk))
        batches: dict[str, npt.NDArray[np.generic]] = {}
        labelers: dict[str, Labeler] = {}
        batch_rows: dict[str, int] = {}
        for candidate in self.candidates:
            key = candidate.method.key
            labelers[key] = build_labeler(candidate.recipe)
            batch_rows[key] = READY_ROWS if _is_ready(candidate.recipe) else ROWS
            batches[key] = batch
            if candidate.seen is not None:
                values = candidate.seen.load(self.chunk, pa.table({}))
                batches[key] = _batch(values["outputs"])
            merge = candidate.recipe.merge
            if merge is not None:
                # what its parties wrote, whose numbers do not change how long it takes
                width = len(merge.of) * candidate.recipe.width
                batches[key] = np.zeros((ROWS, width), np.float32)
        seconds: dict[str, list[float]] = {key: [] for key in labelers}
        for _ in range(ROUNDS + 1):
            # interleaved, so that whatever slows the machine down slows all of them
            for key, labeler in labelers.items():
                if sum(seconds[key]) < MOST_SECONDS:
                    seconds[key].append(_seconds(labeler, batches[key][: batch_rows[key]]))
        return {key: _milliseconds_a_row(seconds[key], batch_rows[key]) for key in labelers}


def _batch(rows: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    # of few rows some stand there again and again: time is measured over as many rows in each pool
    return np.resize(rows, (ROWS, *rows.shape[1:]))


def _is_ready(recipe: Recipe) -> bool:
    return any(part.ready for part in recipe.parts())


def _seconds(labeler: Labeler, batch: npt.NDArray[np.generic]) -> float:
    began = time.perf_counter()
    raw_predict(labeler, batch)
    return time.perf_counter() - began


def _milliseconds_a_row(rounds: list[float], rows: int) -> float:
    # the first round warms up, where it is not the only one
    measured = rounds[1:] or rounds
    return statistics.median(measured) * 1000 / rows
