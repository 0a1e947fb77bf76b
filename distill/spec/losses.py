"""What a loss is: keys of a job file, what it learns from, and one number a row.

A new loss is one class in one file that derives from `Loss`, or from
`distill.models.losses.divergence.Divergence` where it compares distributions over classes. It
imports torch within its functions alone, so that reading a job loads none.

Shapes: B rows, C outputs of the head, S ≤ C outputs that are taught, k stored classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from distill.core.source import PythonFile
from distill.spec.kinds import Kind

if TYPE_CHECKING:
    from torch import Tensor

# the meaning of what is learned, in the words of messages
Meaning = Literal["exclusive classes", "independent outputs", "values"]
EXCLUSIVE: Meaning = "exclusive classes"
INDEPENDENT: Meaning = "independent outputs"
VALUES: Meaning = "values"
ANY_MEANING: tuple[Meaning, ...] = (EXCLUSIVE, INDEPENDENT, VALUES)


@dataclass(frozen=True)
class CustomLossCall:
    """A function of the user's own: which one of which file."""

    file: PythonFile
    name: str
    where: str  # the term in words, or its key: for messages


@dataclass(frozen=True, kw_only=True)
class LossRows:
    """Rows of one term: the student's outputs and what is taught, which is `target`, or `outputs`,
    or `index` with `log_probs`."""

    head: Tensor  # (B, C): the whole head's outputs
    # (S,): where the taught outputs stand in the head; None where they are the head's
    positions: Tensor | None
    weight: Tensor  # (B,): 0 for rows that do not count, which hold zeros
    # (B,) numbers of classes among the taught ones; or (B, S) zeros and ones, or values
    target: Tensor | None = None
    outputs: Tensor | None = None  # (B, S): what a label set stores whole
    index: Tensor | None = None  # (B, k): a label set's largest classes, among the taught ones
    log_probs: Tensor | None = None  # (B, k): their log-probabilities at `Loss.label_temperature`
    own: CustomLossCall | None = None  # for a loss whose formula is in a file of the user's own

    @property
    def student(self) -> Tensor:
        """(B, S): the student's outputs of what is taught. Before a softmax this renormalises over
        them: the student is told nothing of the head's other classes."""
        return self.head if self.positions is None else self.head[:, self.positions]

    @property
    def taught(self) -> Tensor:
        """The target, or else the stored outputs."""
        taught = self.outputs if self.target is None else self.target
        assert taught is not None, "the checks of a job leave no other loss to stored top-k"
        return taught


class Loss(Kind):
    """One number a row that says how far a student is from what it is taught."""

    learns_labels: ClassVar[tuple[Meaning, ...]] = ()
    """What it learns from label sets."""
    learns_targets: ClassVar[tuple[Meaning, ...]] = ()
    """What it learns from targets of pools."""
    needs_every_output: ClassVar[bool] = False
    """Whether it cannot learn from the top k of a label set's logits."""
    keys_of_targets: ClassVar[Mapping[str, str]] = {}
    """Keys that mean nothing for a label set, and what to say to who gives one."""

    @property
    def label_temperature(self) -> float | None:
        """At which temperature it reads logits of labels: its key `temperature`, if it has one."""
        return getattr(self, "temperature", None)

    @property
    def code_file(self) -> str | None:
        """The Python file, relative to the job file, that has its formula, if one has."""
        return None

    @abstractmethod
    def row_losses(self, rows: LossRows) -> Tensor:
        """Return the loss of each row, (B,). Finite, with finite gradients, where a row is zeros."""
