"""Fits by gradients as students of one target, and the loss where nobody names one."""

from __future__ import annotations

from distill.models.losses.binary_cross_entropy import BinaryCrossEntropy
from distill.models.losses.cross_entropy import CrossEntropy
from distill.models.losses.mse import Mse
from distill.spec.losses import Loss
from distill.spec.models import EarlyStop, Fit
from distill.spec.networks import Network
from distill.spec.outputs import Outputs
from distill.spec.students import HeldOut, Student, Term


def usual_loss(source: Outputs) -> Loss:
    """Return the loss that a source of this kind is learned by where nobody says how."""
    if source.kind == "value":
        return Mse(kind="mse")
    if source.exclusive:
        return CrossEntropy(kind="cross_entropy")
    return BinaryCrossEntropy(kind="binary_cross_entropy")


def fit_student(fit: Fit, loss: Loss) -> Student:
    """Return a fit by gradients as a student of one target."""
    assert isinstance(fit.model, Network)
    term = Term(learns=f"pools.{fit.on}", loss=loss)
    stop = fit_stop(fit.early_stop) if fit.early_stop else None
    return Student(
        model=fit.model,
        terms=(term,),
        features=fit.features,
        on=(fit.on,),
        training=fit.training,
        seed=fit.seed,
        early_stop=stop,
    )


def fit_stop(stop: EarlyStop) -> HeldOut:
    """Return a fit's early stop as a student's."""
    return HeldOut(**stop.model_dump())
