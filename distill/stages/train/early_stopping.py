"""The measure by which a training stops early: the mean loss over rows that are not trained on, the same on every rank.

**The same to the last bit for any number of workers**, or the workers would decide what is learned. So rows are taken in the order in which
they are stored, in batches whose borders nothing of the cluster moves; batch number n belongs to lane n mod L, and worker r of W takes the lanes ≡ r
(mod W), as in training. A batch is one pass of the network in eval mode; its losses are summed in float64, a lane adds up its batches in order, and
every rank adds up all lanes in order: what others have is 0 on this one, so that what meets in the reduction is exact. With `gradients = "lanes"`, 1, 2, 4, …
workers therefore find the same best epoch and stop at the same one (tests/stages/train/test_early_stop.py).

    measure = Σ w·ℓ / Σ w        over all held-out rows; w is 0 where a row was rejected or its target is not known

An epoch is *better* if its measure lies more than `least` below that of the last better one. The best epoch is the last better one; training stops
at the first measure that comes `patience` epochs after it, or later. Both are read from the history that checkpoints hold, so a resumed training
decides as it would have. The learning rate's schedule stays over all `epochs`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from distill.core.errors import UnlearnableError
from distill.engine.protocol import WorkerContext
from distill.loader.cache import ChunkCache
from distill.loader.dataset import Arrays
from distill.loader.disk_cache import DiskCache
from distill.loader.sampler import Chunk, cut_chunks
from distill.models.network import as_tensor
from distill.plan.training import HeldOutPlan
from distill.spec.models import EarlyStop, Training
from distill.stages.train.combined_loss import row_losses
from distill.stages.train.gradients import Answer

BATCH_ROWS = 1_024
"""The most rows that the network sees at once, or `batch_rows` where that is less, which memory
holds. Part of the measure's last bits."""


class HeldOutMeasure:
    """`measure(network)` → the mean loss over the held-out rows."""

    def __init__(
        self,
        plan: HeldOutPlan,
        training: Training,
        context: WorkerContext,
        answer: Answer,
        disk: DiskCache | None,
    ) -> None:
        self.plan, self.lanes, self.context, self.answer = plan, training.lanes, context, answer
        self._load = ChunkCache(plan.source, disk)
        positions = plan.term.positions
        self._positions = (
            torch.tensor(positions, device=context.device) if positions is not None else None
        )
        chunks = cut_chunks(plan.source.groups, 1, min(BATCH_ROWS, training.batch_rows))
        mine = range(context.rank, self.lanes, context.workers)
        self._chunks = {lane: chunks[lane :: self.lanes] for lane in mine}

    def __call__(self, network: nn.Module) -> float:
        """Leaves the network in the mode in which it was. Raises UnlearnableError where no row is
        known, or the mean is no number."""
        training = network.training
        network.eval()
        with torch.no_grad():
            lane_sums = self._over_workers(self._lane_sums())
        network.train(training)
        loss, weight = (sum(column) for column in zip(*lane_sums.tolist(), strict=True))
        if not weight:
            raise UnlearnableError(
                f"early_stop: {self.plan.term.said}: not one held-out row is known, so nothing can"
                " be measured. Compare the target's values with the pool's classes, or look at the"
                " label set's rejects."
            )
        if not math.isfinite(loss):
            raise UnlearnableError(
                f"early_stop: {self.plan.term.said}: the measure is {loss}. Lower"
                " training.learning_rate, or look at the held-out rows."
            )
        return float(loss / weight)

    def _lane_sums(self) -> Tensor:
        """Σ w·ℓ and Σ w of each lane, (lanes, 2); zeros for others' lanes."""
        sums = torch.zeros(self.lanes, 2, dtype=torch.float64)
        with ThreadPoolExecutor(1) as ahead:
            for lane, chunks in self._chunks.items():
                for rows in _ahead(ahead, self._load, chunks):
                    sums[lane] += self._batch_sums(rows)
        return sums

    def _batch_sums(self, rows: Arrays) -> Tensor:
        device = self.context.device
        batch = {
            name: torch.tensor(values, device=device)
            for name, values in rows.items()
            if name != "features"
        }
        term, weight_B = self.plan.term, batch[f"{self.plan.term.column}.weight"].double()
        answered = self.answer(as_tensor(rows["features"], device))[term.head]
        loss_B = row_losses(term, answered, batch, self._positions).double()
        known = torch.where(weight_B > 0, loss_B * weight_B, 0.0)
        return torch.stack([known.sum(), weight_B.sum()]).cpu()

    def _over_workers(self, mine: Tensor) -> Tensor:
        if self.context.workers == 1:
            return mine
        met = mine.to(self.context.device)
        dist.all_reduce(met, group=self.context.group)
        return met.cpu()


def judged(history: Sequence[Mapping[str, Any]], measure: float, stop: EarlyStop) -> dict[str, Any]:
    """What the history says of an epoch: its measure, and whether it is better than all before."""
    before = [each["held_out"] for each in history if each.get("better")]
    return {"held_out": measure, "better": not before or measure < before[-1] - stop.least}


def best_epoch(history: Sequence[Mapping[str, Any]]) -> int | None:
    """The epoch whose weights are kept; None where nothing was measured."""
    return next((int(each["epoch"]) for each in reversed(history) if each.get("better")), None)


def is_over(history: Sequence[Mapping[str, Any]], stop: EarlyStop | None) -> bool:
    """Whether patience is at its end; epochs that were not measured end nothing."""
    if stop is None:
        return False
    best, last = (
        best_epoch(history),
        next((each["epoch"] for each in reversed(history) if "held_out" in each), 0),
    )
    return best is not None and int(last) - best >= stop.patience


def _ahead(
    threads: ThreadPoolExecutor, load: ChunkCache, chunks: Sequence[Chunk]
) -> Iterator[Arrays]:
    """The rows of each chunk, the next one being read while this one is used."""
    waiting = None
    for chunk in chunks:
        coming = threads.submit(load, chunk)
        if waiting is not None:
            yield waiting.result()
        waiting = coming
    if waiting is not None:
        yield waiting.result()
