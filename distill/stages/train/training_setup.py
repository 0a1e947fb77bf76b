"""What stays the same through one training on one worker, and where the training goes on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from distill.engine.protocol import WorkerContext
from distill.loader.sampler import Sampler
from distill.models.network import MultiHead, build_network
from distill.plan.training import TrainingPlan
from distill.stages.train.checkpoint import Position, load_checkpoint, newest_checkpoint
from distill.stages.train.optimizer import Optimizer
from distill.stages.train.projection import with_projections
from distill.stages.train.team import from_rank_0
from distill.storage.base import Storage
from distill.storage.open import open_storage


@dataclass(frozen=True)
class TrainingSetup:
    """One training on one worker: what is trained, how, and on which rows."""

    plan: TrainingPlan
    context: WorkerContext
    network: MultiHead  # what is exported
    trained: nn.Module  # the network, and the projections that its terms need
    optimizer: Optimizer
    samplers: tuple[Sampler, ...]  # one a dataset
    steps_per_epoch: int

    @property
    def total_steps(self) -> int:
        """Steps of all epochs, if nothing stops them early."""
        return self.plan.training.epochs * self.steps_per_epoch

    @cached_property
    def order(self) -> str:
        """The name of the order of rows: checkpoints of another one are of no use."""
        return "".join(sampler.digest for sampler in self.samplers)

    @cached_property
    def folder(self) -> Storage:
        """Where the model is kept."""
        return open_storage(self.plan.folder)

    @property
    def checkpoints(self) -> Storage:
        """Where its checkpoints are."""
        return self.folder.folder("checkpoints")

    def weights(self) -> dict[str, Tensor]:
        """Return what is exported, by name, as it is by now."""
        return self.optimizer.weights(self.network)


def prepare_training(plan: TrainingPlan, context: WorkerContext) -> TrainingSetup:
    """Build what a plan says, with its first weights."""
    network = build_network(plan.plan, plan.seed).to(context.device)
    # projections on the device too, before the optimiser keeps hold of the parameters
    trained = with_projections(network, plan.terms, plan.seed).to(context.device)
    samplers = tuple(plan.order(number) for number in range(len(plan.sources)))
    # the first dataset sets the length of an epoch
    steps_per_epoch = samplers[0].steps_per_epoch
    total_steps = plan.training.epochs * steps_per_epoch
    optimizer = Optimizer(plan.training, trained, total_steps)
    return TrainingSetup(plan, context, network, trained, optimizer, samplers, steps_per_epoch)


def restore_position(setup: TrainingSetup) -> Position:
    """Load the newest checkpoint, which rank 0 chooses. Returns where all go on: at the beginning
    where there is none."""
    newest = None
    if setup.context.rank == 0:
        newest = newest_checkpoint(setup.checkpoints, setup.order)
    # one rank chooses and all load what it chose, so that ranks never go on from different steps
    chosen = from_rank_0(newest, setup.context)
    if chosen is None:
        return Position()
    return load_checkpoint(setup.checkpoints, chosen, setup.trained, setup.optimizer)
