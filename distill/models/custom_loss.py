"""Losses of the user's own: a function of the student's and the teacher's numbers in a file beside
the job, one number a row.

It is asked about rows that count alone: padding and rejected rows hold zeros, of which a relative
error makes no number, and 0 · NaN is NaN. It is tried on two rows before any work, so that a wrong
name, or a loss that teaches nothing, is not found once the labels are paid for. Values are tried as
ones: a number that a logarithm, a quotient, a probability and a count all take.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from distill.core.errors import TrainingError
from distill.core.source import PythonFile, own_lines

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CustomLossCall:
    """Which function of which file."""

    file: PythonFile
    name: str
    said: str
    """The term in words, or its key."""


def call_custom_loss(loss: CustomLossCall, mine: Tensor, taught: Tensor, known_B: Tensor) -> Tensor:
    """What it says of each row, (B,), and 0 where it is not asked. Raises TrainingError."""
    if not known_B.any():
        return mine.flatten(1).sum(dim=1) * 0
    made = asked(loss, mine[known_B], taught[known_B])
    return made.new_zeros(len(mine)).masked_scatter(known_B, made)


def asked(loss: CustomLossCall, mine: Tensor, taught: Tensor) -> Tensor:
    """Its answer, one number a row. Raises TrainingError."""
    import torch

    name, said = loss.name, loss.said
    function = loss.file.load(name, said)
    try:
        made = function(mine, taught)
    except Exception as error:
        raise TrainingError(f"{said}: {name}() raised:\n{own_lines(error)}") from error
    if not isinstance(made, torch.Tensor) or made.shape != (len(mine),):
        shape = tuple(made.shape) if isinstance(made, torch.Tensor) else type(made).__name__
        raise TrainingError(
            f"{said}: {name}() answered with {shape}, where one number for each of {len(mine)} rows"
            " is due"
        )
    if mine.requires_grad and not made.requires_grad:
        raise TrainingError(
            f"{said}: {name}() answered with numbers that do not follow the student's, so it"
            " teaches nothing. Compute them from its first argument, by torch."
        )
    return made
