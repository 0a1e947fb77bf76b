"""`binary_cross_entropy`, to probabilities of independent outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from distill.spec.losses import INDEPENDENT, Loss, LossRows

if TYPE_CHECKING:
    from torch import Tensor


class BinaryCrossEntropy(Loss):
    """The sum over independent outputs of their binary cross-entropies."""

    learns_labels = (INDEPENDENT,)
    learns_targets = (INDEPENDENT,)

    kind: Literal["binary_cross_entropy"]

    def row_losses(self, rows: LossRows) -> Tensor:
        """Return Σ over outputs of −p log σ(z) − (1−p) log(1−σ(z)), (B,)."""
        from torch.nn import functional

        p_BS = rows.taught.sigmoid() if rows.target is None else rows.target
        # from logits: log σ of a large one is not rounded to 0 or −inf, as the logarithm of σ would
        # be
        losses_BS = functional.binary_cross_entropy_with_logits(
            rows.student, p_BS, reduction="none"
        )
        return losses_BS.sum(dim=1)
