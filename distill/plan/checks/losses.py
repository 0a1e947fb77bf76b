"""Losses of the user's own, asked about two rows before any work."""

from __future__ import annotations

from dataclasses import asdict
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
    """Ask a student's own losses about as many numbers as they will be given; `where` is its key.

    What was found right is kept under the root, so that a finished job loads no torch for it.
    Raises JobError.
    """
    for number, term in enumerate(student.terms):
        _check(workspace, term, f"{where}.terms.{number}.loss", teaches=True)
    if student.early_stop is not None:
        term = workspace.tables.held_out_term(student.early_stop)
        _check(workspace, term, f"{where}.early_stop.loss", teaches=False)


def _check(workspace: Workspace, term: Term, key: str, *, teaches: bool) -> None:
    """A loss that only measures need not follow the student's numbers."""
    if not isinstance(term.loss, CustomLoss):
        return
    tables = workspace.tables
    call = CustomLossCall(
        tables.custom_source(term.loss, key), term.loss.name, f"{tables.path}: {key}"
    )
    source = tables.term_outputs(term)
    width = term_width(workspace, term)
    target = term.pool is not None
    asked_about = [call.file.sha256, call.name, asdict(source), width, target, teaches]
    workspace.remember(
        "checks",
        ["custom loss", asked_about],
        lambda: _ask(call, source, width, target=target, teaches=teaches),
    )


def _ask(call: CustomLossCall, source: Outputs, width: int, *, target: bool, teaches: bool) -> None:
    call.file.load(call.name, call.said)
    student, taught = _two_rows(source, width, target=target)
    try:
        call_custom_loss(call, student.requires_grad_(teaches), taught)
    except DistillError as error:
        learned = "" if source.classes else ", to learn ones"
        raise JobError(
            f"{error}\nTwo rows of {width} random numbers were tried{learned}."
        ) from error


def _two_rows(source: Outputs, width: int, *, target: bool) -> tuple[Tensor, Tensor]:
    """What a student may answer, and what it may be taught."""
    import torch

    mine, taught = torch.randn(2, 2, width, generator=torch.Generator().manual_seed(0))
    if source.kind == "value":
        return mine, torch.ones_like(taught)
    if target:
        taught = taught.argmax(dim=1) if source.exclusive else (taught > 0).float()
    return mine, taught
