"""`custom`: a function of the student's and the teacher's numbers in a file beside the job, one
number a row.

It is tried on two rows before any work, so that a wrong name, or a loss that teaches nothing, is
not found once the labels are paid for. Values are tried as ones: a number that a logarithm, a
quotient, a probability and a count all take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from distill.core.errors import TrainingError
from distill.core.source import own_lines, user_errors
from distill.spec.base import Place
from distill.spec.losses import ANY_MEANING, CustomLossCall, Loss, LossRows

if TYPE_CHECKING:
    from torch import Tensor


class CustomLoss(Loss):
    """A function of the user's own: `loss(student, taught)` → one number a row.

    `student` (rows, S) are the head's outputs of what is taught; `taught` the label set's outputs
    (rows, S), or the target: numbers of classes (rows,) or (rows, S). Both are tensors, of rows
    that count: neither padding nor rejected ones. It is tried on two rows before any work.
    """

    learns_labels = ANY_MEANING
    learns_targets = ANY_MEANING
    needs_every_output = True

    kind: Literal["custom"]
    file: Place
    """Python file, relative to the job file. It is shipped to the workers as source; another text
    of it is another student."""
    name: str = "loss"
    """The function in that file."""

    @property
    def code_file(self) -> str:
        return self.file

    def row_losses(self, rows: LossRows) -> Tensor:
        assert rows.own is not None
        mine_BS = rows.student
        # padding and rejected rows hold zeros, of which a relative error makes no number, and 0 ·
        # NaN is NaN
        counts_B = rows.weight > 0
        if not counts_B.any():
            # 0 a row, and still of the student's numbers, for backward
            return mine_BS.flatten(1).sum(dim=1) * 0
        counted = call_custom_loss(rows.own, mine_BS[counts_B], rows.taught[counts_B])
        losses_B = counted.new_zeros(len(mine_BS))
        return losses_B.masked_scatter(counts_B, counted)


def call_custom_loss(loss: CustomLossCall, mine: Tensor, taught: Tensor) -> Tensor:
    """Return what the user's function says of each row, (B,). Raises TrainingError where it raises,
    or says something else."""
    import torch

    function = loss.file.load(loss.name, loss.where)
    where = f"{loss.where}: {loss.name}()"
    try:
        made = function(mine, taught)
    except user_errors() as error:
        raise TrainingError(f"{where} raised:\n{own_lines(error)}") from error
    is_tensor = isinstance(made, torch.Tensor)
    if not is_tensor or made.shape != (len(mine),):
        shape = tuple(made.shape) if is_tensor else type(made).__name__
        raise TrainingError(
            f"{where} answered with {shape}, where one number for each of {len(mine)} rows is due"
        )
    if mine.requires_grad and not made.requires_grad:
        raise TrainingError(
            f"{where} answered with numbers that do not follow the student's, so it teaches"
            " nothing. Compute them from its first argument, by torch."
        )
    checked: Tensor = made
    return checked
