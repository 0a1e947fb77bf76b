"""`kl`: Hinton, Vinyals & Dean 2015, §2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from distill.models.losses.divergence import Divergence, divergence
from distill.spec.base import Temperature
from distill.spec.losses import LossRows

if TYPE_CHECKING:
    from torch import Tensor

    from distill.models.outcomes import Outcomes


class Kl(Divergence):
    """KL(teacher ‖ student) at a temperature, times T² (Hinton et al. 2015)."""

    kind: Literal["kl"]
    temperature: Temperature = 1.0

    def row_losses(self, rows: LossRows) -> Tensor:
        if rows.outputs is None:
            return super().row_losses(rows)
        from distill.models.dense_kl import dense_kl

        return dense_kl(rows.student, rows.outputs, self.temperature)

    def compare(self, outcomes: Outcomes) -> Tensor:
        # T² keeps the gradient's size: it falls by 1/T² as the temperature rises
        return self.temperature**2 * divergence(outcomes.teacher, outcomes.student)
