"""`mse`: of logits, Ba & Caruana 2014, eq. 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from distill.models.losses.values import paired_values
from distill.spec.losses import ANY_MEANING, VALUES, Loss, LossRows

if TYPE_CHECKING:
    from torch import Tensor


class Mse(Loss):
    """Mean squared error of values, of embeddings, or of logits that are stored whole (`dense`)."""

    learns_labels = ANY_MEANING
    learns_targets = (VALUES,)
    needs_every_output = True

    kind: Literal["mse"]

    def row_losses(self, rows: LossRows) -> Tensor:
        mine_BW, taught_BW = paired_values(self, rows)
        return (mine_BW - taught_BW).square().mean(dim=1)
