"""Milliseconds a row of each method, asked side by side on one CPU thread: the median of
interleaved rounds."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.labelers.base import Labeler, raw_predict
from distill.labelers.recipe import Recipe
from distill.labelers.registry import build_labeler
from distill.loader.dataset import Dataset
from distill.loader.sampler import Chunk
from distill.plan.candidates import Candidate

ROUNDS = 15
ROWS = 256
READY_ROWS, MOST_SECONDS = 8, 20.0
"""A model of somebody else's may take seconds a row on one thread."""


@dataclass(frozen=True)
class Stopwatch:
    """`stopwatch()` → milliseconds a row by method, on the machine where it is called."""

    source: Dataset
    chunk: Chunk
    candidates: tuple[Candidate, ...]

    def __call__(self) -> dict[str, float]:
        import torch

        torch.set_num_threads(1)
        rows = self.source.seen(self.chunk)
        batch = np.resize(rows, (ROWS, *rows.shape[1:]))
        built = {
            candidate.method.key: build_labeler(candidate.recipe) for candidate in self.candidates
        }
        times: dict[str, list[float]] = {key: [] for key in built}
        rows_of = {
            each.method.key: READY_ROWS if _is_ready(each.recipe) else ROWS
            for each in self.candidates
        }
        for _ in range(ROUNDS + 1):
            for key, labeler in built.items():
                if sum(times[key]) < MOST_SECONDS:
                    times[key].append(_seconds(labeler, batch[: rows_of[key]]))
        return {
            key: statistics.median(some[1:] or some) * 1000 / rows_of[key]
            for key, some in times.items()
        }


def _is_ready(recipe: Recipe) -> bool:
    return any(part.ready for part in recipe.parts())


def _seconds(labeler: Labeler, batch: npt.NDArray[np.generic]) -> float:
    began = time.perf_counter()
    raw_predict(labeler, batch)
    return time.perf_counter() - began
