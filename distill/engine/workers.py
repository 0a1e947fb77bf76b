"""A group of data-parallel training workers, by Ray Train: the process group, restarts after a lost worker, and progress.

We keep our own checkpoints (Ray's latest is the latest *polled*, and a killed driver's run resumes from an older one than storage
holds), so nothing is reported to Ray Train and its storage path stays a temporary folder. Ray Train starts the group again after a lost
process, but cannot tell that from a mistake in the code it runs. So a worker that raises says so first, to the ear; a group that is started
after that ends at once, and the driver raises what was said. (Restarts of our own by a new `fit()` were tried: a worker lost while its
group starts leaves its placement group reserved for ever.)
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from distill.engine.resources import device_of_worker, gpus_each, require_resources
from distill.engine.session import keeping_signals, require_ray
from distill.errors import DistillError, TrainingError
from distill.job.base import Gpus
from distill.progress import Bar

LOST_WORKERS = 8
"""Restarts of the group before training is given up."""
_MOST_SAID = 1_500
_POLL_SECONDS = 0.5

Told = TypeVar("Told")


@dataclass(frozen=True)
class WorkerContext:
    """What one training worker knows of the group it is in."""

    rank: int
    workers: int
    device: str
    say: Callable[[float, str], None] = field(default=lambda _amount, _note: None)
    """Tell the person who waits: so much more is done. Rank 0's word counts."""


def train_workers(work: Callable[[Told, WorkerContext], Any], told: Told, *, workers: int, gpus: Gpus, bar: Bar) -> Any:
    """Run `work(told, context)` on every worker of a group, its process group ready; returns rank 0's answer.

    Raises ResourceError for what the cluster can never give, TrainingError where the work raises or workers keep dying.
    """
    ray = require_ray()
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    each = gpus_each(ray, gpus)
    require_resources(ray, "training", processes=workers, cpus=1, gpus=each)
    with _listening(ray, bar) as ear, tempfile.TemporaryDirectory(prefix="distill-train-") as scratch:
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"work": work, "told": told, "ear": ear},
            torch_config=TorchConfig(backend="nccl" if each else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=bool(each),
                resources_per_worker={"CPU": 1, **({"GPU": each} if each else {})},
            ),
            run_config=RunConfig(
                name=uuid.uuid4().hex, storage_path=scratch, failure_config=FailureConfig(max_failures=LOST_WORKERS)
            ),
        )
        lost = ""
        try:
            with keeping_signals():
                answer = trainer.fit().return_value
        except ray.train.TrainingFailedError as error:
            lost = str(error)
        except SystemExit:  # how Ray Train ends on Ctrl-C
            raise KeyboardInterrupt from None
        said = ray.get(ear.first_failure.remote())
    if said:
        raise TrainingError(said)
    if lost:
        raise TrainingError(
            f"training lost workers {LOST_WORKERS} times and was given up: {lost[-_MOST_SAID:]}. "
            f"Run the same command again; it goes on from the newest checkpoint."
        )
    return answer


def _worker(config: dict[str, Any]) -> Any:
    import ray
    import ray.train

    context, ear = ray.train.get_context(), config["ear"]
    rank = context.get_world_rank()

    def say(amount: float, note: str) -> None:
        if rank == 0:
            ear.hear.remote(amount, note)

    if ray.get(ear.first_failure.remote()):
        return None
    try:
        return config["work"](config["told"], WorkerContext(rank, context.get_world_size(), device_of_worker(ray), say))
    except Exception as error:
        if not _is_lost_peer(error):
            said = (
                str(error)
                if isinstance(error, DistillError)
                else f"training raised on rank {rank}:\n{traceback.format_exc()}"
            )
            ray.get(ear.fail.remote(said))
        _leave_group()
        raise


def _is_lost_peer(error: Exception) -> bool:
    """Whether a collective failed because another rank is gone: gloo says so in a plain RuntimeError."""
    import torch.distributed

    return isinstance(error, torch.distributed.DistError) or (
        isinstance(error, RuntimeError) and "gloo" in str(error).lower()
    )


def _leave_group() -> None:
    """Make the other ranks fail in their next collective at once, instead of waiting for this one."""
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


class _Ear:
    """An actor that keeps what the workers say until the driver asks."""

    def __init__(self) -> None:
        self.amount, self.note, self.failure = 0.0, "", ""

    def hear(self, amount: float, note: str) -> None:
        self.amount += amount
        self.note = note

    def fail(self, trace: str) -> None:
        self.failure = self.failure or trace

    def take(self) -> tuple[float, str]:
        amount, self.amount = self.amount, 0.0
        return amount, self.note

    def first_failure(self) -> str:
        return self.failure


@contextlib.contextmanager
def _listening(ray: Any, bar: Bar) -> Iterator[Any]:
    """Poll the ear while `fit` blocks."""
    ear = ray.remote(num_cpus=0)(_Ear).remote()
    over = threading.Event()

    def poll() -> None:
        while not over.wait(_POLL_SECONDS):
            with contextlib.suppress(ray.exceptions.RayError):
                amount, note = ray.get(ear.take.remote())
                bar.advance(amount, note) if amount else bar.waits("training workers to start")

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield ear
    finally:
        over.set()
        thread.join()
        with contextlib.suppress(ray.exceptions.RayError):
            bar.advance(*ray.get(ear.take.remote()))
        ray.kill(ear)
