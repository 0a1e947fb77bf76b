"""What divergences share: they compare two distributions over exclusive classes."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from distill.spec.losses import EXCLUSIVE, Loss, LossRows

if TYPE_CHECKING:
    from torch import Tensor

    from distill.models.outcomes import Outcomes


class Divergence(Loss):
    """A loss over outcomes, whether logits are stored whole or as their top k. A subclass has a key
    `temperature` and writes its formula once, in `compare`."""

    learns_labels = (EXCLUSIVE,)

    @property
    def student_temperature(self) -> float:
        """What the student's logits are divided by: as the teacher's are."""
        return self.label_temperature or 1.0

    @abstractmethod
    def compare(self, outcomes: Outcomes) -> Tensor:
        """Return the loss of each row, (B,), of log-probabilities (B, O) of the same outcomes."""

    def row_losses(self, rows: LossRows) -> Tensor:
        from distill.models.outcomes import outcomes_of

        temperature = self.label_temperature or 1.0
        outcomes = outcomes_of(rows, temperature, self.student_temperature)
        return self.compare(outcomes)


def divergence(log_p_BO: Tensor, log_q_BO: Tensor) -> Tensor:
    """Return KL(p ‖ q) = Σ p · (log p − log q), (B,)."""
    return (log_p_BO.exp() * (log_p_BO - log_q_BO)).sum(dim=1)
