"""`decoupled_kl`: Zhao et al. 2022 (DKD), eq. 7."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from distill.models.losses.divergence import Divergence, divergence
from distill.spec.base import Temperature

if TYPE_CHECKING:
    from torch import Tensor

    from distill.models.outcomes import Outcomes


class DecoupledKl(Divergence):
    """KL taken apart: the teacher's choice against all others, and the others among themselves,
    times T² (Zhao et al. 2022)."""

    kind: Literal["decoupled_kl"]
    temperature: Temperature = 1.0
    target_weight: Annotated[float, Field(ge=0)] = 1.0
    others_weight: Annotated[float, Field(ge=0)] = 8.0

    def compare(self, outcomes: Outcomes) -> Tensor:
        """Return T² · (α·KL of the target against all others + β·KL among the others), (B,).

        The target is the class that the teacher prefers. α = 1, β = 1 − p(target) would be `kl`.
        Where the teacher's rest is not known well enough to stand among the others, it counts on
        both sides in their mass alone.
        """
        from distill.models.outcomes import among_heard, one_against_others, unknown_rests

        p_BO, q_BO, classes = outcomes
        # an unlabelled row has no other target
        chosen_B1 = p_BO[:, :classes].argmax(dim=1, keepdim=True)
        # the chosen class is none of the others
        silent_BO = unknown_rests(outcomes).scatter(1, chosen_B1, value=True)
        p_target_B2 = one_against_others(p_BO, chosen_B1)
        q_target_B2 = one_against_others(q_BO, chosen_B1)
        target_B = divergence(p_target_B2, q_target_B2)
        p_others_BO = among_heard(p_BO, silent_BO)
        q_others_BO = among_heard(q_BO, silent_BO)
        others_B = divergence(p_others_BO, q_others_BO)
        weighted_B = self.target_weight * target_B + self.others_weight * others_B
        return self.temperature**2 * weighted_B
