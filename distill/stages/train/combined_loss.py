"""L(θ) = Σ_t weight_t · mean over the rows that t knows of ℓ_t, over the *global* batch.

The rows' weights are summed over the whole batch first (`known`), so that rejected and padding
rows, of which workers and lanes have different numbers, do not bend the mean; then any part of the
batch gives its share of L, and the shares add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from distill.models import losses
from distill.models.custom_loss import call_custom_loss
from distill.plan.training import TermPlan
from distill.spec.students import (
    BinaryCrossEntropy,
    Cosine,
    CrossEntropy,
    CustomLoss,
    DecoupledKl,
    JensenShannon,
    Kl,
    Loss,
    Mse,
    ReverseKl,
)

Batch = Mapping[str, Tensor]


class CombinedLoss:
    """The terms of one lesson, on one device."""

    def __init__(self, terms: Sequence[TermPlan], device: str) -> None:
        self.terms, self.device = terms, device
        self.at(0.0)
        self.positions = [
            torch.tensor(term.positions, device=device) if term.positions is not None else None
            for term in terms
        ]

    def at(self, done: float) -> None:
        """The terms' weights are those of the moment when the share `done` of all steps is taken."""
        self.weights = torch.tensor(
            [term.weight_at(done) for term in self.terms], device=self.device
        )

    def known(self, batches: Sequence[Batch]) -> Tensor:
        """Σ w of each term over these rows, (terms,), to be summed over the global batch. One batch
        a source."""
        return torch.stack(
            [batches[term.source][f"{term.column}.weight"].sum() for term in self.terms]
        )

    def __call__(
        self, outputs: Sequence[Mapping[str, Tensor]], batches: Sequence[Batch], known: Tensor
    ) -> tuple[Tensor, Tensor]:
        """These rows' part of L, to differentiate, given the global batch's `known`; and (terms,
        4): their Σ w·ℓ, Σ w, rows with w > 0 and rows."""
        sums = []
        for term, positions in zip(self.terms, self.positions, strict=True):
            batch, answered = batches[term.source], outputs[term.source][term.answer]
            weight_B = batch[f"{term.column}.weight"]
            loss = (row_losses(term, answered, batch, positions) * weight_B).sum()
            sums.append(
                torch.stack([loss, weight_B.sum(), (weight_B > 0).sum(), (batch["row"] >= 0).sum()])
            )
        summed = torch.stack(sums)
        return (
            self.weights * summed[:, 0] / torch.where(known > 0, known, 1.0)
        ).sum(), summed.detach()


def row_losses(term: TermPlan, answered: Tensor, batch: Batch, positions: Tensor | None) -> Tensor:
    """One number a row, (B,): what `term` says of the head's answers (B, C)."""
    if isinstance(term.loss, CustomLoss):
        assert term.own is not None
        mine, taught = (
            losses.restrict(answered, positions),
            batch[f"{term.column}.{'target' if term.target else 'outputs'}"],
        )
        return call_custom_loss(term.own, mine, taught, batch[f"{term.column}.weight"] > 0)
    if term.target:
        return _to_target(term, answered, batch[f"{term.column}.target"], positions)
    mine, loss = losses.restrict(answered, positions), term.loss
    if f"{term.column}.index" in batch:
        index, log_probs = batch[f"{term.column}.index"], batch[f"{term.column}.log_probs"]
        return _compared(
            loss, losses.topk_outcomes(mine, index, log_probs, _student_temperature(loss))
        )
    return _to_outputs(term, mine, batch[f"{term.column}.outputs"])


def _student_temperature(loss: Loss) -> float:
    """Cross-entropy softens the teacher alone."""
    return 1.0 if isinstance(loss, CrossEntropy) else float(getattr(loss, "temperature", 1.0))


def _compared(loss: Loss, said: losses.Outcomes) -> Tensor:
    if isinstance(loss, CrossEntropy):
        return losses.cross_entropy(said)
    if isinstance(loss, ReverseKl):
        return losses.reverse_kl(said, loss.temperature)
    if isinstance(loss, JensenShannon):
        return losses.jensen_shannon(said, loss.temperature, loss.teacher_share)
    if isinstance(loss, DecoupledKl):
        return losses.decoupled_kl(said, loss.temperature, loss.target_weight, loss.others_weight)
    assert isinstance(loss, Kl)
    return losses.kl(said, loss.temperature)


def _to_target(
    term: TermPlan, answered: Tensor, target: Tensor, positions: Tensor | None
) -> Tensor:
    if isinstance(term.loss, CrossEntropy):
        placed = target if positions is None else positions[target]
        return losses.cross_entropy_target(answered, placed, term.loss.smoothing)
    mine = losses.restrict(answered, positions)
    if isinstance(term.loss, BinaryCrossEntropy):
        return losses.binary_cross_entropy(mine, target)
    return _to_numbers(term, mine, target)


def _to_outputs(term: TermPlan, mine: Tensor, taught: Tensor) -> Tensor:
    loss = term.loss
    if isinstance(loss, BinaryCrossEntropy):
        return losses.binary_cross_entropy(mine, torch.sigmoid(taught))
    if isinstance(loss, Mse | Cosine):
        return _to_numbers(term, mine, taught)
    assert not isinstance(loss, CustomLoss)
    if isinstance(loss, Kl):
        return losses.dense_kl(mine, taught, loss.temperature)
    return _compared(
        loss, losses.dense_outcomes(mine, taught, loss.temperature, _student_temperature(loss))
    )


def _to_numbers(term: TermPlan, mine: Tensor, taught: Tensor) -> Tensor:
    if isinstance(term.loss, Cosine):
        return losses.cosine(mine, taught)
    assert isinstance(term.loss, Mse)
    return losses.mse(mine, taught)
