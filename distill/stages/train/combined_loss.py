"""L(θ) = Σ_t weight_t · mean over the rows that t knows of ℓ_t, over the *global* batch: any part
of it gives its share of L, and the shares add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from distill.plan.training import TermPlan
from distill.spec.losses import LossRows

Batch = Mapping[str, Tensor]


class CombinedLoss:
    """The terms of one training, on one device."""

    def __init__(self, terms: Sequence[TermPlan], device: str) -> None:
        self.terms = terms
        self.device = device
        self.positions = [positions_on(term, device) for term in terms]
        self.at(0.0)

    def at(self, done: float) -> None:
        """Set the terms' weights to those of the moment at which `done` of all steps are taken."""
        weights = [term.weight_at(done) for term in self.terms]
        self.weights = torch.tensor(weights, device=self.device)

    def known(self, batches: Sequence[Batch]) -> Tensor:
        """Return Σ w of each term over these rows, (terms,), to be summed over the global batch.
        One batch a source."""
        # before any loss: workers and lanes have different numbers of rejected and padding rows,
        # which would bend a mean of their means
        sums = []
        for term in self.terms:
            weight_B = batches[term.source][f"{term.column}.weight"]
            total = weight_B.sum()
            sums.append(total)
        return torch.stack(sums)

    def __call__(
        self, outputs: Sequence[Mapping[str, Tensor]], batches: Sequence[Batch], known: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return these rows' part of L, to differentiate, given the global batch's `known`; and
        (terms, 4): their Σ w·ℓ, Σ w, rows with w > 0 and rows."""
        losses = []
        counts = []
        for term, positions in zip(self.terms, self.positions, strict=True):
            batch = batches[term.source]
            of_source = outputs[term.source]
            answered = of_source[term.answer]
            weight_B = batch[f"{term.column}.weight"]
            loss_B = row_losses(term, answered, batch, positions)
            weighted = loss_B * weight_B
            losses.append(weighted.sum())
            counted = (weight_B > 0).sum()
            rows = (batch["row"] >= 0).sum()
            counts.append(torch.stack([weight_B.sum(), counted, rows]))
        loss_T = torch.stack(losses)
        # a term that nobody knows a row of adds 0, not 0 / 0
        share_T = self.weights / torch.where(known > 0, known, 1.0)
        total = (loss_T * share_T).sum()
        return total, torch.column_stack([loss_T.detach(), torch.stack(counts)])


def positions_on(term: TermPlan, device: str) -> Tensor | None:
    """Return where the source's classes stand in the head, (C,); None where they are the head's."""
    return None if term.positions is None else torch.tensor(term.positions, device=device)


def row_losses(term: TermPlan, answered: Tensor, batch: Batch, positions: Tensor | None) -> Tensor:
    """Return what `term` says of the head's outputs (B, C): one number a row, (B,)."""
    column = term.column
    rows = LossRows(
        head=answered,
        positions=positions,
        weight=batch[f"{column}.weight"],
        target=batch.get(f"{column}.target"),
        outputs=batch.get(f"{column}.outputs"),
        index=batch.get(f"{column}.index"),
        log_probs=batch.get(f"{column}.log_probs"),
        own=term.own,
    )
    return term.loss.row_losses(rows)
