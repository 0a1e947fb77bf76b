"""What every training worker runs: the trainings of its team, one after another, so that the start
is paid once for all.

A worker is deterministic given (plan, rank, workers), which are its team's whatever other teams
there are: one thread, rows by a pure function, randomness and learning rate anew for each step by
its number. With `gradients = "lanes"` the number of workers does not matter either. What stays the
same through a training is its `TrainingSetup`, what moves is a `Position`, from checkpoint to
checkpoint. Rank 0 keeps checkpoints, the metrics and, last, the export (`model_export`).

On a CPU, networks and losses of the user's own run in the thread that calls `run_trainings`, their
backward passes too, and so does a pool format where the engine allows no threads: with one worker a
breakpoint in them works.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from distill.core.errors import UnlearnableError
from distill.engine.protocol import WorkerContext
from distill.models.activations import compute_again
from distill.models.network import apart
from distill.plan.costs.limits import Allowance
from distill.plan.training import TrainingPlan
from distill.stages.train.assignment import assign_to_teams
from distill.stages.train.budget import BudgetWatch
from distill.stages.train.checkpoint import Position, save_checkpoint
from distill.stages.train.early_stopping import is_over, judge_epoch
from distill.stages.train.guards import require_numbers, require_rows
from distill.stages.train.inputs import Inputs, open_inputs
from distill.stages.train.metrics import Pace, write_metrics
from distill.stages.train.model_export import export_network
from distill.stages.train.optimizer import learning_rate
from distill.stages.train.reporting import Reporter
from distill.stages.train.step import TrainingStep, make_gradients
from distill.stages.train.team import sum_over_team, wait_for_team
from distill.stages.train.training_setup import TrainingSetup, prepare_training, restore_position


def run_trainings(
    plans: Sequence[TrainingPlan], context: WorkerContext, allowance: Allowance | None = None
) -> None:
    """Train the network of each plan that this worker's team is assigned, or go on with it where
    its newest checkpoint is; all together within an `allowance`, where there is a budget.

    A training that cannot be learned is given up at the same point by all ranks of the team, and is
    in nobody's way."""
    # a worker has one core, and sums over threads have other last bits
    torch.set_num_threads(1)
    watch = BudgetWatch(allowance, context)
    assigned = assign_to_teams(plans, context.teams)[context.team]
    for plan in assigned:
        setup = prepare_training(plan, context)
        reporter = Reporter(setup)
        all_steps = setup.total_steps
        try:
            position = train_network(setup, reporter, watch)
        except UnlearnableError as error:
            reason = str(error)
            reporter.report(all_steps, "given up")
            context.give_up(plan.name, reason)
            continue
        if plan is not assigned[-1]:
            # steps that an early end saves count as done: nobody else does them
            reporter.report_end(all_steps, position)


def train_network(setup: TrainingSetup, reporter: Reporter, watch: BudgetWatch) -> Position:
    """Take all steps that are left, then export the network. Returns where the training ended.
    Raises UnlearnableError, also where the budget is spent before."""
    if setup.plan.training.activation_checkpoints:
        compute_again(setup.network)
    position = restore_position(setup)
    began = time.monotonic()
    reporter.report(position.step)
    with open_inputs(setup, position.step) as inputs:
        position = EpochLoop(setup, inputs, reporter).run(position, watch)
    if setup.context.rank == 0:
        now = time.monotonic()
        seconds = now - began
        export_network(setup, position, seconds)
    wait_for_team(setup.context)
    return position


class EpochLoop:
    """The steps of a training, epoch by epoch."""

    def __init__(self, setup: TrainingSetup, inputs: Inputs, reporter: Reporter) -> None:
        plan = setup.plan
        self.setup = setup
        self.context = setup.context
        self.terms = plan.terms
        self.training = plan.training
        self.stop = plan.held_out.stop if plan.held_out else None
        self.inputs = inputs
        self.reporter = reporter
        gradients = make_gradients(setup)
        self.step = TrainingStep(setup, gradients)
        batch_rows = plan.training.batch_rows
        self.pace = Pace(batch_rows)

    def run(self, position: Position, watch: BudgetWatch) -> Position:
        """Take the steps from a position on. Returns where they end. Raises UnlearnableError where
        the budget is spent before, with a checkpoint of where that is."""
        self.setup.trained.train()
        first_step = position.step
        while not self._is_finished(position):
            if watch.is_spent():
                if position.step > first_step:
                    self._keep(position)
                raise watch.stop(position.step)
            position = self._advance(position)
        self.reporter.report_end(position.step, position)
        return position

    def _is_finished(self, position: Position) -> bool:
        return position.step == self.setup.total_steps or is_over(position.history, self.stop)

    def _advance(self, position: Position) -> Position:
        """Take the steps up to the epoch's end, or to a checkpoint before it."""
        last = self._next_pause(position.step)
        sums = self._sums_so_far(position)
        for number in range(position.step, last):
            sums += self.step(number, [next(batches) for batches in self.inputs.batches])
            self.pace.count_step()
            taken = number + 1
            self.reporter.report_step(taken)
        # once, and not in every step, where it would be one more wait: nobody needs the losses before
        sums = sum_over_team(sums, self.context)
        if last % self.setup.steps_per_epoch == 0:
            return self._end_epoch(position, last, sums)
        return self._pause_epoch(position, last, sums)

    def _next_pause(self, step: int) -> int:
        """The step at which the epoch under way ends, or at which a checkpoint is due before."""
        epoch_steps = self.setup.steps_per_epoch
        epoch_end = (step // epoch_steps + 1) * epoch_steps
        every = self.training.checkpoint_steps
        if every is None:
            return epoch_end
        return min(epoch_end, (step // every + 1) * every)

    def _sums_so_far(self, position: Position) -> Tensor:
        """The sums of the epoch under way: rank 0 has what all added up before."""
        device = self.context.device
        if position.sums and self.context.rank == 0:
            return torch.tensor(position.sums, device=device)
        return torch.zeros(len(self.terms), 4, device=device)

    def _pause_epoch(self, position: Position, step: int, sums: Tensor) -> Position:
        """Keep a checkpoint within an epoch."""
        epoch = step // self.setup.steps_per_epoch + 1
        losses = sums[:, 0].tolist()
        when = f"in epoch {epoch}"
        self._require_numbers(when, losses)
        paused = replace(position, step=step, sums=sums.tolist())
        self._keep(paused)
        return paused

    def _end_epoch(self, position: Position, step: int, sums: Tensor) -> Position:
        """Write down an epoch, and keep a checkpoint where one is due."""
        epoch = step // self.setup.steps_per_epoch
        line = self._losses(epoch, step, sums)
        # before the measure, whose time is none of the steps'
        line |= self.pace.numbers()
        line |= self._judged(epoch, position)
        best = position.best
        if line.get("better") and self.context.rank == 0:
            # a copy, since the next steps move the weights in place
            weights = self.setup.weights()
            best = apart(weights)
        ended = Position(step, [*position.history, line], best=best)
        self.pace.restart()
        if self._is_finished(ended) or self._is_checkpoint_due(epoch, step):
            self._keep(ended)
        return ended

    def _losses(self, epoch: int, step: int, sums: Tensor) -> dict[str, Any]:
        """The epoch's losses, as in `metrics.jsonl`. Raises UnlearnableError for no number."""
        # ε does not cover losses: a private training stores none
        if self.training.private is not None:
            when = f"after epoch {epoch}"
            self._require_numbers(when, [])
            rate = learning_rate(self.training, step - 1, self.setup.total_steps)
            return {"epoch": epoch, "step": step, "learning_rate": rate}
        loss, weight, known_rows, rows = sums.unbind(dim=1)
        weight_sums = weight.tolist()
        require_rows(self.terms, weight_sums)
        ratios = loss / weight
        means = ratios.tolist()
        total_steps = self.setup.total_steps
        last_step = step - 1
        done = last_step / total_steps
        weights = [term.weight_at(done) for term in self.terms]
        total = sum(weight * mean for weight, mean in zip(weights, means, strict=True))
        self._require_numbers(f"after epoch {epoch}", [*means, total])
        return {
            "epoch": epoch,
            "step": step,
            "loss": total,
            "terms": means,
            "weights": weights,
            "known": (known_rows / rows).tolist(),
            "learning_rate": learning_rate(self.training, last_step, total_steps),
        }

    def _judged(self, epoch: int, position: Position) -> dict[str, Any]:
        """What the held-out rows say of an epoch; nothing where it is not measured."""
        if self.inputs.measure is None or self.stop is None:
            return {}
        is_last = epoch == self.training.epochs
        if epoch % self.stop.every_epochs and not is_last:
            return {}
        measure = self.inputs.measure(self.setup.network)
        return judge_epoch(position.history, measure, self.stop)

    def _is_checkpoint_due(self, epoch: int, step: int) -> bool:
        every = self.training.checkpoint_steps
        if every is not None and step % every == 0:
            return True
        return epoch % self.training.checkpoint_epochs == 0

    def _keep(self, position: Position) -> None:
        """Write a checkpoint, and the metrics so far."""
        setup = self.setup
        if self.context.rank == 0:
            folder = setup.checkpoints
            save_checkpoint(folder, position, setup.order, setup.trained, setup.optimizer)
            write_metrics(setup.folder, position.history)

    def _require_numbers(self, when: str, losses: Sequence[float]) -> None:
        moved = self.setup.optimizer.moved(self.setup.trained)
        require_numbers(self.terms, when, losses, moved)
