"""`reverse_kl`: Gu et al. 2024 (MiniLLM), eq. 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from distill.models.losses.divergence import Divergence, divergence
from distill.spec.base import Temperature

if TYPE_CHECKING:
    from torch import Tensor

    from distill.models.outcomes import Outcomes


class ReverseKl(Divergence):
    """KL(student ‖ teacher) at a temperature, times T²: a small student may leave out what it
    cannot say (Gu et al. 2024)."""

    kind: Literal["reverse_kl"]
    temperature: Temperature = 1.0

    def compare(self, outcomes: Outcomes) -> Tensor:
        # T², as in `kl`
        return self.temperature**2 * divergence(outcomes.student, outcomes.teacher)
