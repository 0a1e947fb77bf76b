"""`cosine`, of embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from distill.models.losses.values import paired_values
from distill.spec.losses import VALUES, Loss, LossRows

if TYPE_CHECKING:
    from torch import Tensor


class Cosine(Loss):
    """1 − cosine of values: of embeddings whose length says nothing."""

    learns_labels = (VALUES,)
    learns_targets = (VALUES,)

    kind: Literal["cosine"]

    def row_losses(self, rows: LossRows) -> Tensor:
        """Return 1 − cosine of the two, (B,); 1 where one of them is zero."""
        from torch.nn import functional

        mine_BW, taught_BW = paired_values(self, rows)
        return 1 - functional.cosine_similarity(mine_BW, taught_BW, dim=1)
