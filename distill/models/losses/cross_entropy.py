"""`cross_entropy`, to soft labels or to a target; smoothed as in Szegedy et al. 2016, §7."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from distill.models.losses.divergence import Divergence
from distill.spec.base import Temperature
from distill.spec.losses import EXCLUSIVE, LossRows

if TYPE_CHECKING:
    from torch import Tensor

    from distill.models.outcomes import Outcomes


class CrossEntropy(Divergence):
    """Categorical cross-entropy, to soft labels or to the target's class."""

    learns_targets = (EXCLUSIVE,)
    keys_of_targets = {"smoothing": "soft labels are soft. Leave it out, or raise the temperature."}

    kind: Literal["cross_entropy"]
    temperature: Temperature = 1.0
    """Of the soft labels alone; the student answers at 1."""
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of a target: so much of it is spread evenly over the classes."""

    @property
    def student_temperature(self) -> float:
        return 1.0

    def row_losses(self, rows: LossRows) -> Tensor:
        if rows.target is None:
            return super().row_losses(rows)
        from torch.nn import functional

        # over the whole head: a target says that the row is of no other class
        target_B = rows.target if rows.positions is None else rows.positions[rows.target]
        return functional.cross_entropy(
            rows.head, target_B, reduction="none", label_smoothing=self.smoothing
        )

    def compare(self, outcomes: Outcomes) -> Tensor:
        """Return −Σ p log q, (B,): `kl` and the teacher's own entropy, so it does not reach 0."""
        return -(outcomes.teacher.exp() * outcomes.student).sum(dim=1)
