"""The measure by which a training stops early: the mean loss over rows that are not trained on, the
same on every rank.

**The same to the last bit for any number of workers**, or the workers would decide what is learned.
With `gradients = "lanes"`, 1, 2, 4, … workers therefore find the same best epoch and stop at the
same one (tests/stages/train/test_early_stopping.py).

    measure = Σ w·ℓ / Σ w    over all held-out rows; w is 0 where a row was rejected or its target
                             is not known

An epoch is *better* if its measure lies more than `least` below that of the last better one. The
best epoch is the last better one; training stops at the first measure that comes `patience` epochs
after it, or later. Both are read from the history that checkpoints hold, so a resumed training
decides as it would have. The learning rate's schedule stays over all `epochs`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from distill.core.errors import UnlearnableError
from distill.engine.protocol import WorkerContext
from distill.loader.cache import ChunkCache
from distill.loader.dataset import Arrays
from distill.loader.disk_cache import DiskCache
from distill.loader.prefetch import prefetch, reading_threads
from distill.loader.sampler import cut_chunks
from distill.models.network import as_tensor
from distill.plan.training import HeldOutPlan
from distill.spec.models import EarlyStop, Training
from distill.stages.train.batches import Forward
from distill.stages.train.combined_loss import positions_on, row_losses
from distill.stages.train.team import sum_over_team

# the most rows that the network sees at once, or `batch_rows` where that is less, which memory
# holds. Part of the measure's last bits.
BATCH_ROWS = 1_024


class HeldOutMeasure:
    """`measure(network)` → the mean loss over the held-out rows."""

    def __init__(
        self,
        plan: HeldOutPlan,
        training: Training,
        context: WorkerContext,
        forward: Forward,
        disk: DiskCache | None,
    ) -> None:
        self.plan = plan
        self.lanes = training.lanes
        self.context = context
        self.forward = forward
        self._cache = ChunkCache(plan.source, disk)
        self._positions = positions_on(plan.term, context.device)
        # in stored order, and as for one lane: nothing of the cluster, nor the job's lanes, moves
        # the border of a batch, and with it the last bits of a product of matrices
        chunk_rows = min(BATCH_ROWS, training.batch_rows)
        chunks = cut_chunks(plan.source.groups, 1, chunk_rows)
        # batch n is lane n mod L's, and a lane one worker's, as in training
        own_lanes = range(context.rank, self.lanes, context.workers)
        self._batches = [
            (lane, chunk) for lane in own_lanes for chunk in chunks[lane :: self.lanes]
        ]

    def __call__(self, network: nn.Module) -> float:
        """Measure, and leave the network in the mode in which it was. Raises UnlearnableError where
        no row is known, or the mean is no number."""
        was_training = network.training
        network.eval()
        with torch.no_grad():
            lane_sums = self._lane_sums()
        network.train(was_training)
        # added up lane by lane, in order, so that every rank has the same last bits
        loss, weight = (sum(column) for column in zip(*lane_sums.tolist(), strict=True))
        if not weight:
            raise UnlearnableError(
                f"early_stop: {self.plan.term.text}: not one held-out row is known, so nothing can"
                " be measured. Compare the target's values with the pool's classes, or look at the"
                " label set's rejects."
            )
        if not math.isfinite(loss):
            raise UnlearnableError(
                f"early_stop: {self.plan.term.text}: the measure is {loss}. Lower"
                " training.learning_rate, or look at the held-out rows."
            )
        return float(loss / weight)

    def _lane_sums(self) -> Tensor:
        """Σ w·ℓ and Σ w of each lane, (lanes, 2)."""
        context = self.context
        # a lane adds up its batches in order, in float64
        sums = torch.zeros(self.lanes, 2, dtype=torch.float64)
        loaded = ((lane, self._cache(chunk)) for lane, chunk in self._batches)
        with reading_threads(1, debuggable=not context.threads) as thread:
            for lane, rows in prefetch(loaded, thread):
                sums[lane] += self._batch_sums(rows)
        # a lane's sum is 0 on all workers but its own: what meets in the reduction is exact
        return sum_over_team(sums.to(context.device), context).cpu()

    def _batch_sums(self, rows: Arrays) -> Tensor:
        term = self.plan.term
        device = self.context.device
        batch = {
            # copied: the cache's arrays may not be written to
            name: torch.tensor(values, device=device)
            for name, values in rows.items()
            if name != "features"
        }
        outputs = self.forward(as_tensor(rows["features"], device))[term.head]
        loss_B = row_losses(term, outputs, batch, self._positions).double()
        weight_B = batch[f"{term.column}.weight"].double()
        # a row that is not known may have a loss that is no number
        weighted_B = torch.where(weight_B > 0, loss_B * weight_B, 0.0)
        weight = weight_B.sum()
        return torch.stack([weighted_B.sum(), weight]).cpu()


def judge_epoch(
    history: Sequence[Mapping[str, Any]], measure: float, stop: EarlyStop
) -> dict[str, Any]:
    """Return what the history says of an epoch: its measure, and whether none before is better."""
    before = [each["held_out"] for each in history if each.get("better")]
    # against the last better epoch, not the last: many steps of less than `least` are progress
    is_better = not before or measure < before[-1] - stop.least
    return {"held_out": measure, "better": is_better}


def best_epoch(history: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the epoch whose weights are kept; None where nothing was measured."""
    return next((int(each["epoch"]) for each in reversed(history) if each.get("better")), None)


def is_over(history: Sequence[Mapping[str, Any]], stop: EarlyStop | None) -> bool:
    """Return whether patience is at its end; epochs that were not measured end nothing."""
    best = best_epoch(history)
    if stop is None or best is None:
        return False
    # read from what checkpoints hold, so a resumed training decides as it would have
    measured = [int(each["epoch"]) for each in history if "held_out" in each]
    return measured[-1] - best >= stop.patience
