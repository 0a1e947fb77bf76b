"""One step of a training: the gradient over a global batch, and what the optimiser makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from distill.loader.dataset import Arrays
from distill.spec.models import Training
from distill.stages.train.batch_norms import BatchNorms, Way
from distill.stages.train.batches import Forward
from distill.stages.train.combined_loss import CombinedLoss
from distill.stages.train.gradients import Gradients, LaneGradients, WorkerGradients
from distill.stages.train.private_account import account_of
from distill.stages.train.token_budget import TokenBudget, give_rows, part_padding
from distill.stages.train.training_setup import TrainingSetup


class TrainingStep:
    """`step(number, batches)` moves the weights once."""

    def __init__(self, setup: TrainingSetup, gradients: Gradients) -> None:
        self.setup = setup
        self.gradients = gradients

    def __call__(self, number: int, batches: Sequence[Arrays]) -> Tensor:
        """Take one batch a dataset. Returns this worker's (terms, 4) sums (`CombinedLoss`)."""
        setup = self.setup
        training = setup.plan.training
        done = number / setup.total_steps
        self.gradients.loss.at(done)
        sums = self.gradients.backward(setup.plan.seed, number, batches)
        if training.clip_norm is not None:
            # over all workers' gradient, which by now is the same on each
            nn.utils.clip_grad_norm_(self.gradients.parameters, training.clip_norm)
        setup.optimizer.step(number)
        return sums


def make_gradients(setup: TrainingSetup) -> Gradients:
    """Choose how gradients are summed, as the job says."""
    training = setup.plan.training
    if training.private is not None:
        # imported here: it needs opacus
        from distill.stages.train.private_gradients import PrivateGradients

        return PrivateGradients(setup, account_of(setup))
    context = setup.context
    loss = CombinedLoss(setup.plan.terms, context.device)
    make_forward = forward_maker(training, context.device)
    norms = _batch_norms(setup)
    if context.device == "cpu" and not training.compile:
        # before DistributedDataParallel looks at what it will sum
        give_rows(setup.trained)
    budget = _token_budget(setup)
    if training.gradients == "lanes":
        lanes = training.lanes
        return LaneGradients(
            setup.trained, loss, context, make_forward, lanes, norms=norms, budget=budget
        )
    parts = training.accumulate_batches
    return WorkerGradients(
        setup.trained, loss, context, make_forward, parts=parts, norms=norms, budget=budget
    )


def _token_budget(setup: TrainingSetup) -> TokenBudget | None:
    training = setup.plan.training
    if training.tokens is None:
        return None
    sources = setup.plan.sources
    padding = sources[0].padding
    if padding is None:
        return None
    most_padding = part_padding(setup.trained, setup.context.device)
    return TokenBudget(training.tokens, training.lanes, padding, most_padding)


def _batch_norms(setup: TrainingSetup) -> BatchNorms | None:
    training = setup.plan.training
    if training.batch_norm is None:
        return None
    way: Way = "frozen" if training.batch_norm == "frozen" else training.gradients
    return BatchNorms(setup.trained, way, setup.context)


def forward_maker(training: Training, device: str) -> Callable[[nn.Module], Forward]:
    """Return how a network is run: compiled and in the job's precision, its outputs float32."""
    device_kind = device.partition(":")[0]
    is_bfloat16 = training.precision == "bfloat16"

    def make_forward(network: nn.Module) -> Forward:
        model = torch.compile(network) if training.compile else network

        def forward(features: Tensor) -> dict[str, Tensor]:
            with torch.autocast(device_kind, torch.bfloat16, enabled=is_bfloat16):
                outputs = model(features)
            # losses are taken in float32: bfloat16 has two to three digits
            return {head: values.float() for head, values in outputs.items()}

        return forward

    return make_forward
