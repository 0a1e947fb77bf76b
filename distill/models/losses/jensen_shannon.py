"""`jensen_shannon`: Agarwal et al. 2024 (GKD), eq. 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from distill.models.losses.divergence import Divergence, divergence
from distill.spec.base import Temperature

if TYPE_CHECKING:
    from torch import Tensor

    from distill.models.outcomes import Outcomes


class JensenShannon(Divergence):
    """The generalised Jensen–Shannon divergence at a temperature, times T²: bounded, between `kl`
    and `reverse_kl` (Agarwal et al. 2024)."""

    kind: Literal["jensen_shannon"]
    temperature: Temperature = 1.0
    teacher_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Of the mixture that both are held against."""

    def compare(self, outcomes: Outcomes) -> Tensor:
        """Return T² · (β·KL(teacher ‖ m) + (1−β)·KL(student ‖ m)), m = β·teacher + (1−β)·student,
        of the teacher's share β, (B,)."""
        p, q, _ = outcomes
        shares = p.new_tensor([self.teacher_share, 1 - self.teacher_share]).log()
        # the mixture in logarithms: in float32 small probabilities would be 0, and their logarithm
        # −inf
        log_m = (p + shares[0]).logaddexp(q + shares[1])
        from_teacher = self.teacher_share * divergence(p, log_m)
        from_student = (1 - self.teacher_share) * divergence(q, log_m)
        return self.temperature**2 * (from_teacher + from_student)
