"""L(θ) = Σ_t weight_t · mean over the rows that t knows of ℓ_t, over the *global* batch.

Each worker sums its own rows; the weights are summed over all workers, so that rejected and padding rows, of which workers have
different numbers, do not bend the mean. DDP averages gradients, hence the factor `workers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from distill import losses
from distill.job.students import BinaryCrossEntropy, CrossEntropy, Kl, Loss
from distill.train.lesson import TermPlan

Batch = Mapping[str, Tensor]


class CombinedLoss:
    """The terms of one lesson, on one device."""

    def __init__(
        self, terms: Sequence[TermPlan], device: str, workers: int, sum_over_workers: Callable[[Tensor], Tensor]
    ) -> None:
        self.terms, self.workers, self.sum_over_workers = terms, workers, sum_over_workers
        self.positions = [
            torch.tensor(term.positions, device=device) if term.positions is not None else None for term in terms
        ]

    def __call__(self, outputs: Sequence[Mapping[str, Tensor]], batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
        """The scalar to differentiate, and (terms, 4): this worker's Σ w·ℓ, Σ w, rows with w > 0 and rows of each term. One entry a source."""
        sums = []
        for term, positions in zip(self.terms, self.positions, strict=True):
            batch, answered = batches[term.source], outputs[term.source][term.head]
            weight_B = batch[f"{term.column}.weight"]
            loss = (row_losses(term, answered, batch, positions) * weight_B).sum()
            sums.append(torch.stack([loss, weight_B.sum(), (weight_B > 0).sum(), (batch["row"] >= 0).sum()]))
        summed = torch.stack(sums)
        known = self.sum_over_workers(summed[:, 1].detach().clone()).clamp_min(1e-12)
        weights = torch.tensor([term.weight for term in self.terms], device=summed.device)
        return (weights * summed[:, 0] / known).sum() * self.workers, summed.detach()


def row_losses(term: TermPlan, answered: Tensor, batch: Batch, positions: Tensor | None) -> Tensor:
    """One number a row, (B,): what `term` says of the head's answers (B, C)."""
    column = term.column
    if term.target:
        return _to_target(term, answered, batch[f"{column}.target"], positions)
    mine = losses.restrict(answered, positions)
    if f"{column}.index" in batch:
        return _to_topk(term.loss, mine, batch[f"{column}.index"], batch[f"{column}.log_probs"])
    return _to_outputs(term.loss, mine, batch[f"{column}.outputs"])


def _to_outputs(loss: Loss, mine: Tensor, taught: Tensor) -> Tensor:
    if isinstance(loss, Kl):
        return losses.kl(mine, taught, loss.temperature)
    if isinstance(loss, CrossEntropy):
        return losses.cross_entropy(mine, taught, loss.temperature)
    if isinstance(loss, BinaryCrossEntropy):
        return losses.binary_cross_entropy(mine, torch.sigmoid(taught))
    return losses.mse(mine, taught)


def _to_topk(loss: Loss, mine: Tensor, index: Tensor, log_probs: Tensor) -> Tensor:
    if isinstance(loss, Kl):
        return losses.kl_topk(mine, index, log_probs, loss.temperature)
    return losses.cross_entropy_topk(mine, index, log_probs)


def _to_target(term: TermPlan, answered: Tensor, target: Tensor, positions: Tensor | None) -> Tensor:
    if isinstance(term.loss, CrossEntropy):
        return losses.cross_entropy_target(answered, target if positions is None else positions[target])
    if isinstance(term.loss, BinaryCrossEntropy):
        return losses.binary_cross_entropy(losses.restrict(answered, positions), target)
    return losses.mse(answered, target)
