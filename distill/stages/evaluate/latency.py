"""How fast each method is, timed side by side on one CPU thread, in interleaved rounds: milliseconds
a row in batches, the median; and how long a batch and a single row take, the median and the 99th
percentile, which a service waits for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
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
SINGLE_ROUNDS = 100
MOST_SINGLE_SECONDS = 5.0


@dataclass(frozen=True)
class Pace:
    """How fast one method is."""

    milliseconds_per_row: float
    # `rows_per_second` in batches of `batch_rows`; milliseconds of a batch and of a single row
    details: Mapping[str, float]


@dataclass(frozen=True)
class Stopwatch:
    """`stopwatch()` → the pace by method, on the machine where it is called."""

    source: Dataset
    chunk: Chunk
    candidates: tuple[Candidate, ...]

    def __call__(self) -> dict[str, Pace]:
        import torch

        from distill.stages.evaluate.network_costs import network_costs

        torch.set_num_threads(1)
        batch = _batch(self.source.seen(self.chunk))
        batches = {}
        labelers = {}
        batch_rows = {}
        for candidate in self.candidates:
            key = candidate.method.key
            labelers[key] = build_labeler(candidate.recipe)
            batch_rows[key] = READY_ROWS if _is_ready(candidate.recipe) else ROWS
            batches[key] = self._seen_by(candidate, batch)
        seconds: dict[str, list[float]] = {key: [] for key in labelers}
        for _ in range(ROUNDS + 1):
            # interleaved, so that whatever slows the machine down slows all of them
            for key, labeler in labelers.items():
                if sum(seconds[key]) < MOST_SECONDS:
                    seconds[key].append(_seconds(labeler, batches[key][: batch_rows[key]]))
        singles: dict[str, list[float]] = {key: [] for key in labelers}
        for _ in range(SINGLE_ROUNDS + 1):
            for key, labeler in labelers.items():
                if sum(singles[key]) < MOST_SINGLE_SECONDS:
                    singles[key].append(_seconds(labeler, batches[key][:1]))
        paces = {}
        for key, labeler in labelers.items():
            rows = batch_rows[key]
            costs = network_costs(labeler, batches[key][:rows])
            paces[key] = _pace(seconds[key], singles[key], rows, costs)
        return paces

    def _seen_by(
        self, candidate: Candidate, features: npt.NDArray[np.generic]
    ) -> npt.NDArray[np.generic]:
        """A batch as a candidate sees it; `features` are those of the pool."""
        if candidate.seen is not None:
            values = candidate.seen.load(self.chunk, pa.table({}))
            return _batch(values["outputs"])
        recipe = candidate.recipe
        # of labels that were stored, whose numbers do not change how long it takes
        if recipe.merge is not None:
            return np.zeros((ROWS, len(recipe.merge.of) * recipe.width), np.float32)
        if recipe.pooled is not None:
            return np.zeros((ROWS, recipe.width + 1), np.float32)
        return features


def _batch(rows: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    # of few rows some stand there again and again: time is measured over as many rows in each pool
    return np.resize(rows, (ROWS, *rows.shape[1:]))


def _is_ready(recipe: Recipe) -> bool:
    return any(part.ready for part in recipe.parts())


def _seconds(labeler: Labeler, batch: npt.NDArray[np.generic]) -> float:
    began = time.perf_counter()
    raw_predict(labeler, batch)
    return time.perf_counter() - began


def _pace(rounds: list[float], singles: list[float], rows: int, costs: Mapping[str, float]) -> Pace:
    # the first round warms up, where it is not the only one
    batches = np.array(rounds[1:] or rounds) * 1000
    alone = np.array(singles[1:] or singles) * 1000
    times = batches.tolist()
    median = statistics.median(times)
    details = {
        "batch_rows": float(rows),
        "rows_per_second": 1000 * rows / max(median, 1e-9),
        "batch_milliseconds_p50": median,
        "batch_milliseconds_p99": float(np.quantile(batches, 0.99)),
        "row_milliseconds_p50": float(np.median(alone)),
        "row_milliseconds_p99": float(np.quantile(alone, 0.99)),
        **costs,
    }
    seconds = median / rows
    return Pace(seconds, details)
