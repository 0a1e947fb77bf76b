"""Losses of the user's own: a function of the student's and the teacher's numbers in a file beside the job, one number a row.

It is asked about rows that count alone: padding and rejected rows hold zeros, of which a relative error makes no number, and 0 · NaN is NaN. It is
tried on two rows before any work, so that a wrong name, or a loss that teaches nothing, is not found once the labels are paid for. Values are tried as
ones: a number that a logarithm, a quotient, a probability and a count all take.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from distill.errors import DistillError, JobError, TrainingError
from distill.job import Job, Outputs
from distill.job.held_out import held_out_term
from distill.job.outputs import term_outputs
from distill.job.source import PythonFile, own_lines
from distill.job.students import CustomLoss, Student, Term
from distill.train.widths import term_width

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class OwnLoss:
    """Which function of which file."""

    file: PythonFile
    name: str
    said: str
    """The term in words, or its key."""


def own_loss(loss: OwnLoss, mine: Tensor, taught: Tensor, known_B: Tensor) -> Tensor:
    """What it says of each row, (B,), and 0 where it is not asked. Raises TrainingError."""
    if not known_B.any():
        return mine.flatten(1).sum(dim=1) * 0
    made = _asked(loss, mine[known_B], taught[known_B])
    return made.new_zeros(len(mine)).masked_scatter(known_B, made)


def try_own_losses(job: Job, student: Student, where: str) -> None:
    """Ask a student's own losses about as many numbers as they will be given; `where` is its key. Raises JobError."""
    for number, term in enumerate(student.terms):
        _try_term(job, term, f"{where}.terms.{number}.loss", teaches=True)
    if student.early_stop is not None:
        _try_term(job, held_out_term(job, student.early_stop), f"{where}.early_stop.loss", teaches=False)


def _try_term(job: Job, term: Term, key: str, *, teaches: bool) -> None:
    """A loss that only measures need not follow the student's numbers."""
    if not isinstance(term.loss, CustomLoss):
        return
    loss = OwnLoss(job.custom_source(term.loss, key), term.loss.name, f"{job.path}: {key}")
    loss.file.load(loss.name, loss.said)
    source, width = term_outputs(job, term), term_width(job, term)
    mine, taught = _two_rows(source, width, target=term.pool is not None)
    try:
        _asked(loss, mine.requires_grad_(teaches), taught)
    except DistillError as error:
        learned = "" if source.classes else ", to learn ones"
        raise JobError(f"{error}\nTwo rows of {width} random numbers were tried{learned}.") from error


def _two_rows(source: Outputs, width: int, *, target: bool) -> tuple[Tensor, Tensor]:
    """What a student may answer, and what it may be taught."""
    import torch

    mine, taught = torch.randn(2, 2, width, generator=torch.Generator().manual_seed(0))
    if source.kind == "value":
        return mine, torch.ones_like(taught)
    if target:
        taught = taught.argmax(dim=1) if source.exclusive else (taught > 0).float()
    return mine, taught


def _asked(loss: OwnLoss, mine: Tensor, taught: Tensor) -> Tensor:
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
            f"{said}: {name}() answered with {shape}, where one number for each of {len(mine)} rows is due"
        )
    if mine.requires_grad and not made.requires_grad:
        raise TrainingError(
            f"{said}: {name}() answered with numbers that do not follow the student's, so it teaches nothing. Compute them from its first argument, by torch."
        )
    return made
