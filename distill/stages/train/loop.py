"""What every training worker runs: the lessons of its team, one after another, so that the start is
paid once for all.

A worker is deterministic given (lesson, rank, workers), which are its team's whatever other teams
there are: one thread, rows by a pure function, randomness and learning rate anew for each step by
its number. With `gradients = "lanes"` the number of workers does not matter either. Rank 0 keeps
checkpoints, the metrics and, last, the export: the last weights, or those of the best epoch where a
held-out measure says which it is (`held_out`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn

from distill.core.errors import UnlearnableError
from distill.engine.protocol import WorkerContext
from distill.loader.dataset import Arrays
from distill.loader.disk_cache import DiskCache
from distill.loader.loader import Loader
from distill.models.network import apart, build_network, head_parameters, parameter_count
from distill.models.record import ModelRecord, write_record
from distill.plan.training import TrainingPlan
from distill.spec.models import Training
from distill.stages.train.assignment import deal
from distill.stages.train.checkpoint import (
    Position,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from distill.stages.train.combined_loss import CombinedLoss
from distill.stages.train.early_stopping import HeldOutMeasure, best_epoch, is_over, judged
from distill.stages.train.gradients import Answer, Gradients, LaneGradients, WorkerGradients
from distill.stages.train.guards import require_numbers, require_rows
from distill.stages.train.metrics import write_metrics
from distill.stages.train.optimizer import learning_rate, make_optimizer
from distill.stages.train.projection import with_projections
from distill.storage.open import open_storage

_SAY_EVERY_SECONDS = 0.5


def run_trainings(lessons: Sequence[TrainingPlan], context: WorkerContext) -> None:
    """Train the network of each lesson that this worker's team is dealt, or go on with it where its
    newest checkpoint is.

    A lesson that cannot be learned is given up at the same point by all ranks of the team, and is
    in nobody's way.
    """
    torch.set_num_threads(1)
    mine = deal(lessons, context.teams)[context.team]
    for lesson in mine:
        training = _Training(lesson, context)
        try:
            training.run()
        except UnlearnableError as error:
            training.say(training.total_steps, f"{lesson.name}: given up")
            context.give_up(lesson.name, str(error))
            continue
        if lesson is not mine[-1]:  # what an early end saves is nobody's work
            training.say(training.total_steps, f"{lesson.name}: {training.ended()}")


class _Training:
    """One lesson under way on one worker."""

    def __init__(self, lesson: TrainingPlan, context: WorkerContext) -> None:
        self.lesson, self.context = lesson, context
        self.folder = open_storage(lesson.folder)
        self.network = build_network(lesson.plan, lesson.seed).to(context.device)
        self.taught = with_projections(self.network, lesson.terms, lesson.seed).to(context.device)
        self.optimizer = make_optimizer(lesson.training, self.taught)
        self.orders = [lesson.order(number) for number in range(len(lesson.sources))]
        self.steps_per_epoch = self.orders[0].steps_per_epoch
        self.total_steps = lesson.training.epochs * self.steps_per_epoch
        self.position = self._restored()
        self.stop = lesson.held_out.stop if lesson.held_out else None
        self.epoch_began, self.epoch_steps = time.monotonic(), 0

    def run(self) -> None:
        """All steps that are left, then the export."""
        began, first = time.monotonic(), self.position.step
        self.say(first, self.lesson.name)
        disk = self._disk()
        feeds = self._feeds(disk)
        self.measure = self._measure(disk)
        try:
            self._epochs(self._gradients(), [feed.batches(first) for feed in feeds])
        finally:
            for feed in feeds:
                feed.close()
            if disk is not None:
                disk.close()
        if self.context.rank == 0:
            self._export(time.monotonic() - began)
        if self.context.workers > 1:
            dist.barrier(group=self.context.group)

    def _feeds(self, disk: DiskCache | None) -> list[Loader]:
        rank, workers, ahead = self.context.rank, self.context.workers, self.context.device != "cpu"
        return [
            Loader(source, order, rank=rank, workers=workers, ahead=ahead, disk=disk)
            for source, order in zip(self.lesson.sources, self.orders, strict=True)
        ]

    def _disk(self) -> DiskCache | None:
        """Where rows from elsewhere are kept near."""
        held_out = [self.lesson.held_out.source] if self.lesson.held_out else []
        remote = any(source.remote for source in [*self.lesson.sources, *held_out])
        most_bytes = int(self.lesson.training.cache_gb * 1e9)
        return DiskCache(most_bytes) if remote and most_bytes else None

    def _measure(self, disk: DiskCache | None) -> HeldOutMeasure | None:
        plan, answer = self.lesson.held_out, self._answering(self.network)
        return (
            HeldOutMeasure(plan, self.lesson.training, self.context, answer, disk)
            if plan is not None
            else None
        )

    def _answering(self, model: nn.Module) -> Answer:
        return _answer(self.lesson.training, self.context.device.split(":")[0], model)

    def _gradients(self) -> Gradients:
        training, loss = self.lesson.training, CombinedLoss(self.lesson.terms, self.context.device)
        answer = self._answering
        if training.gradients == "lanes":
            return LaneGradients(self.taught, loss, self.context, answer, training.lanes)
        return WorkerGradients(self.taught, loss, self.context, answer)

    @property
    def _order(self) -> str:
        return "".join(order.digest for order in self.orders)

    def _restored(self) -> Position:
        """Where rank 0 says that all go on."""
        checkpoints = self.folder.folder("checkpoints")
        chosen = [newest_checkpoint(checkpoints, self._order) if self.context.rank == 0 else None]
        if self.context.workers > 1:
            dist.broadcast_object_list(chosen, group=self.context.group, group_src=0)
        return (
            load_checkpoint(checkpoints, chosen[0], self.taught, self.optimizer)
            if chosen[0]
            else Position()
        )

    def _epochs(self, gradients: Gradients, feeds: Sequence[Iterator[Arrays]]) -> None:
        self.taught.train()
        training, spoke = self.lesson.training, time.monotonic()
        summed = self._begun()
        for step in range(self.position.step, self.total_steps):
            if is_over(self.position.history, self.stop):
                break
            summed += self._step(gradients, step, [next(feed) for feed in feeds])
            self.epoch_steps += 1
            if time.monotonic() - spoke >= _SAY_EVERY_SECONDS or step == self.total_steps - 1:
                epoch = step // self.steps_per_epoch + 1
                self.say(step + 1, f"{self.lesson.name}: epoch {epoch} of {training.epochs}")
                spoke = time.monotonic()
            if (step + 1) % self.steps_per_epoch == 0:
                self._end_epoch(step + 1, self._sum(summed))
                summed = self._begun()
            elif self._is_due(step + 1):
                sums, epoch = self._sum(summed), step // self.steps_per_epoch + 1
                self._require_numbers(f"in epoch {epoch}", sums[:, 0].tolist())
                self.position = replace(self.position, step=step + 1, sums=sums.tolist())
                self._keep()
                summed = self._begun()
        self.say(self.position.step, f"{self.lesson.name}: {self.ended()}")

    def ended(self) -> str:
        """How the training ended, in words."""
        epochs, best = len(self.position.history), best_epoch(self.position.history)
        return f"ended after epoch {epochs} of {self.lesson.training.epochs}" + (
            f", epoch {best} is best" if best else ""
        )

    def say(self, steps: int, note: str) -> None:
        """Where this training is: a step that is done again after a restart is not counted twice."""
        self.context.say(self.lesson.name, steps * self.lesson.training.batch_rows, note)

    def _begun(self) -> Tensor:
        """The sums of the epoch under way, which rank 0 has for all."""
        nothing = torch.zeros(len(self.lesson.terms), 4, device=self.context.device)
        return (
            torch.tensor(self.position.sums, device=nothing.device)
            if self.position.sums and not self.context.rank
            else nothing
        )

    def _step(self, gradients: Gradients, step: int, batches: Sequence[Arrays]) -> Tensor:
        training = self.lesson.training
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(training, step, self.total_steps)
        gradients.loss.at(step / self.total_steps)
        summed = gradients.backward(self.lesson.seed, step, batches)
        if training.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.taught.parameters(), training.clip_norm)
        self.optimizer.step()
        return summed

    def _end_epoch(self, step: int, summed: Tensor) -> None:
        require_rows(self.lesson.terms, summed[:, 1].tolist())
        means = (summed[:, 0] / summed[:, 1]).tolist()
        epoch = step // self.steps_per_epoch
        weights = [term.weight_at((step - 1) / self.total_steps) for term in self.lesson.terms]
        total = sum(weight * mean for weight, mean in zip(weights, means, strict=True))
        self._require_numbers(f"after epoch {epoch}", [*means, total])
        known = (summed[:, 2] / summed[:, 3]).tolist()
        said = {
            "epoch": epoch,
            "step": step,
            "loss": total,
            "terms": means,
            "weights": weights,
            "known": known,
        }
        said |= self._paced(step) | self._judged(epoch)
        best = (
            apart(self.network.state_dict())
            if said.get("better") and not self.context.rank
            else self.position.best
        )
        self.position = Position(step, [*self.position.history, said], best=best)
        self.epoch_began, self.epoch_steps = time.monotonic(), 0
        over = step == self.total_steps or is_over(self.position.history, self.stop)
        if epoch % self.lesson.training.checkpoint_epochs == 0 or over or self._is_due(step):
            self._keep()

    def _require_numbers(self, when: str, losses: Sequence[float]) -> None:
        require_numbers(self.lesson.terms, when, losses, self.taught.parameters())

    def _is_due(self, step: int) -> bool:
        """Whether `checkpoint_steps` asks for one after so many steps."""
        every = self.lesson.training.checkpoint_steps
        return every is not None and step % every == 0

    def _paced(self, step: int) -> dict[str, float]:
        """Learning rate and pace of an epoch that ends with this step."""
        training, seconds = self.lesson.training, time.monotonic() - self.epoch_began
        rows = self.epoch_steps * training.batch_rows
        return {
            "learning_rate": learning_rate(training, step - 1, self.total_steps),
            "rows_per_second": round(rows / max(seconds, 1e-9), 1),
            "seconds": round(seconds, 3),
        }

    def _judged(self, epoch: int) -> dict[str, Any]:
        """What the held-out rows say of an epoch; nothing where they are not asked."""
        if self.measure is None or self.stop is None:
            return {}
        if epoch % self.stop.every_epochs and epoch != self.lesson.training.epochs:
            return {}
        return judged(self.position.history, self.measure(self.network), self.stop)

    def _keep(self) -> None:
        if self.context.rank == 0:
            checkpoints = self.folder.folder("checkpoints")
            save_checkpoint(checkpoints, self.position, self._order, self.taught, self.optimizer)
            write_metrics(self.folder, self.position.history)

    def _export(self, seconds: float) -> None:
        weights = safetensors.torch.save(self.position.best or apart(self.network.state_dict()))
        lesson, best = self.lesson, best_epoch(self.position.history)
        stopped = {"epochs": len(self.position.history), "best_epoch": best} if best else {}
        said = {
            **stopped,
            "steps": self.position.step,
            "rows": [source.rows for source in lesson.sources],
            "seconds": round(seconds, 3),
            "history": self.position.history,
        }
        thrown_away = parameter_count(self.taught) - parameter_count(self.network)
        if thrown_away:
            said["projection_parameters"] = thrown_away
        write_record(
            self.folder,
            ModelRecord(
                name=lesson.name,
                digest=lesson.folder.rsplit("/", 1)[1],
                form="network",
                in_features=lesson.plan.in_features,
                heads=lesson.heads,
                widths={head: plan.width for head, plan in lesson.plan.heads.items()},
                sha256=hashlib.sha256(weights).hexdigest(),
                parameters=parameter_count(self.network),
                head_parameters=head_parameters(self.network),
                plan=lesson.plan.to_plain(),
                taught_by=lesson.taught_by,
                details={**lesson.said, **said},
            ),
            weights,
        )

    def _sum(self, values: Tensor) -> Tensor:
        """The sum over the team."""
        if self.context.workers > 1:
            dist.all_reduce(values, group=self.context.group)
        return values


def _answer(training: Training, kind: str, model: nn.Module) -> Answer:
    """The network as it is asked: compiled and in the job's precision, its outputs float32."""
    made = torch.compile(model) if training.compile else model

    def answer(features: Tensor) -> dict[str, Tensor]:
        with torch.autocast(kind, torch.bfloat16, enabled=training.precision == "bfloat16"):
            outputs = made(features)
        return {head: values.float() for head, values in outputs.items()}

    return answer
