"""How much noise a private training needs, and what it then promises: opacus' accountants.

With q = batch_rows / rows, a row is in a step with probability q, by itself; T steps of the Poisson-
subsampled Gaussian mechanism with multiplier σ give ε at δ for *adding or removing one row*. All
that is seen on the way is covered, every checkpoint too; what is told beside the weights is not, so
a private training writes down no loss.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from importlib.util import find_spec

from distill.core.errors import MissingExtraError
from distill.core.privacy import PrivacyStatement
from distill.plan.training import TrainingPlan
from distill.spec.private import Private
from distill.stages.train.training_setup import TrainingSetup

_NOTES = (
    "The number of rows, and which pools and settings were chosen, are not protected.",
    "The bound is for one row. Of a person with k rows, ε is k times as much, and δ more.",
)
_TOLERANCE = 0.01
"""Of the ε that noise is found for: it is never above."""


@dataclass(frozen=True)
class PrivateAccount:
    """What one private training does and promises."""

    noise: float
    """σ in units of `clip`."""
    sample_rate: float
    steps: int
    epsilon: float


def require_opacus() -> None:
    """Refuse a private training where opacus is not installed. Raises MissingExtraError."""
    if find_spec("opacus") is None:
        raise MissingExtraError("opacus", "privacy", "a private training")


def account_of(setup: TrainingSetup) -> PrivateAccount:
    """Return what a training does: its noise as the job says it, or the least that keeps ε."""
    private = setup.plan.training.private
    assert private is not None
    (source,) = setup.plan.sources
    rate = min(1.0, setup.plan.training.batch_rows / source.rows)
    return find_account(private, rate, setup.total_steps)


def find_account(private: Private, sample_rate: float, steps: int) -> PrivateAccount:
    """Return the same for so many steps in which a row is with probability `sample_rate`."""
    require_opacus()
    from opacus.accountants import create_accountant
    from opacus.accountants.utils import get_noise_multiplier

    noise = private.noise
    with warnings.catch_warnings():
        # orders beyond opacus' largest could only lower ε
        warnings.filterwarnings("ignore", message="Optimal order is the (largest|smallest) alpha")
        if noise is None:
            noise = get_noise_multiplier(
                target_epsilon=private.epsilon,
                target_delta=private.delta,
                sample_rate=sample_rate,
                steps=steps,
                accountant=private.accountant,
                epsilon_tolerance=_TOLERANCE * min(1.0, private.epsilon or 1.0),
            )
        accountant = create_accountant(private.accountant)
        accountant.history = [(noise, sample_rate, steps)]
        epsilon = float(accountant.get_epsilon(delta=private.delta))
    return PrivateAccount(float(noise), sample_rate, steps, epsilon)


def statement_of(plan: TrainingPlan, account: PrivateAccount) -> PrivacyStatement:
    """Return what is promised to the rows that a training learns from."""
    from importlib.metadata import version

    private = plan.training.private
    assert private is not None
    assert math.isfinite(account.epsilon)
    accounting = (
        f"{private.accountant} accountant of opacus {version('opacus')}, {account.steps:,} steps of"
        f" Poisson samples at rate {account.sample_rate:.4g}, noise {account.noise:.4g} × clip"
        f" {private.clip:g}"
    )
    return PrivacyStatement(
        mechanism="dp_sgd",
        epsilon=account.epsilon,
        delta=private.delta,
        unit="row",
        over=plan.base_pools,
        accounting=accounting,
        notes=_NOTES,
    )
