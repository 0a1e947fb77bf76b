"""What losses of values share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill.spec.losses import Loss, LossRows

if TYPE_CHECKING:
    from torch import Tensor


def paired_values(loss: Loss, rows: LossRows) -> tuple[Tensor, Tensor]:
    """Return the student's values and the taught ones, both (B, W). Raises ValueError where their
    shapes differ."""
    mine_BW = rows.student
    taught_BW = rows.taught
    # torch would broadcast one of them without a word
    if mine_BW.shape != taught_BW.shape:
        raise ValueError(
            f"{loss.kind} of values of shape {tuple(mine_BW.shape)} against"
            f" {tuple(taught_BW.shape)}"
        )
    return mine_BW, taught_BW
