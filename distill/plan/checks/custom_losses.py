"""Losses of the user's own, called with two rows before any work."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from distill.core.errors import DistillError, JobError
from distill.models.losses.custom import CustomLoss, call_custom_loss
from distill.plan.widths import term_width
from distill.plan.workspace import Workspace
from distill.spec.losses import CustomLossCall
from distill.spec.outputs import Outputs
from distill.spec.students import Student, Term

if TYPE_CHECKING:
    from torch import Tensor


def check_custom_losses(workspace: Workspace, student: Student, where: str) -> None:
    """Call a student's own losses with as many numbers as they will be given; `where` is its key.

    What was found right is kept under the root, so that a finished job loads no torch for it.
    Raises JobError."""
    for number, term in enumerate(student.terms):
        _check(workspace, term, f"{where}.terms.{number}.loss", teaches=True)
    if student.early_stop is not None:
        term = workspace.tables.held_out_term(student.early_stop)
        _check(workspace, term, f"{where}.early_stop.loss", teaches=False)


@dataclass(frozen=True)
class _Trial:
    """What a loss is called with."""

    source: Outputs
    width: int  # numbers a row
    target: bool  # whether it learns a pool's target, and not labels
    # whether its gradient is needed: a loss that only measures need not follow its numbers
    teaches: bool


def _check(workspace: Workspace, term: Term, key: str, *, teaches: bool) -> None:
    if not isinstance(term.loss, CustomLoss):
        return
    tables = workspace.tables
    file = tables.custom_source(term.loss, key)
    call = CustomLossCall(file, term.loss.name, f"{tables.path}: {key}")
    source = tables.term_outputs(term)
    width = term_width(workspace, term)
    trial = _Trial(source, width, target=term.pool is not None, teaches=teaches)
    inputs = [file.sha256, call.name, asdict(source), width, trial.target, teaches]
    workspace.remember("checks", ["custom loss", inputs], lambda: _try(call, trial))


def _try(call: CustomLossCall, trial: _Trial) -> None:
    call.file.load(call.name, call.where)
    student, taught = _two_rows(trial)
    student.requires_grad_(trial.teaches)
    try:
        call_custom_loss(call, student, taught)
    except DistillError as error:
        classes = trial.source.classes
        learned = "" if classes else ", to learn ones"
        message = f"{error}\nTwo rows of {trial.width} random numbers were tried{learned}."
        raise JobError(message) from error


def _two_rows(trial: _Trial) -> tuple[Tensor, Tensor]:
    """What a student may answer, (2, width), and what it may be taught."""
    import torch

    generator = torch.Generator().manual_seed(0)
    student, taught = torch.randn(2, 2, trial.width, generator=generator)
    if trial.source.kind == "value":
        ones = torch.ones_like(taught)
        return student, ones
    if not trial.target:
        return student, taught
    if trial.source.exclusive:
        classes = taught.argmax(dim=1)
        return student, classes
    positive = taught > 0
    return student, positive.float()
