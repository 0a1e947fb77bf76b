"""Layers that several networks use, or that torch lacks.

Shapes: B rows, S steps, N numbers a step, H numbers of a state, D layers.
"""

from __future__ import annotations

from torch import Tensor, nn


class LastState(nn.Module):
    """A GRU's state after the last step: (B, S, N) → (B, H)."""

    def __init__(self, gru: nn.GRU) -> None:
        super().__init__()
        self.gru = gru

    def forward(self, steps_BSN: Tensor) -> Tensor:
        _, states_DBH = self.gru(steps_BSN)
        last_BH: Tensor = states_DBH[-1]
        return last_BH


def dropout(rate: float) -> list[nn.Module]:
    """Return the layer, or nothing."""
    # one that does nothing would stand in the exported file
    return [nn.Dropout(rate)] if rate else []
