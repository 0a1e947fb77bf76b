"""A group of data-parallel training workers, by Ray Train: the process group, restarts after lost workers, another number of them, and progress.

We keep our own checkpoints (Ray's latest is the latest *polled*, and a killed driver's run resumes from an older one than storage
holds), so nothing is reported to Ray Train and its storage path stays a temporary folder. Ray Train starts the group again after a lost
process, but cannot tell that from a mistake in the code it runs. So a worker that raises says so first, to the ear (`engine.ear`), and so does
the controller of a group that is lost: it ends where the ear says so. (Restarts of our own by a new `fit()` were tried: a worker lost
while its group starts leaves its placement group reserved for ever.)

With a range of workers Ray Train starts as many as there is room for now, and looks every `RESIZE_SECONDS` whether there is room for another number.
It may start any number of the range. That is as well: lanes are dealt round, and sums over a global batch do not ask who held what (`train.gradients`),
so no number leaves a worker idle unless some lanes would wait for it anyway.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import traceback
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from distill.engine.ear import listening
from distill.engine.resources import device_of_worker, gpus_each, look_at_nodes, require_resources
from distill.engine.session import keeping_signals, require_ray
from distill.errors import DistillError, TrainingError
from distill.job.base import Gpus
from distill.progress import Bar

RESIZE_SECONDS = 20.0
"""As often as Ray's coordinator of resources looks at the nodes; each change of number costs a start and the steps since the newest checkpoint."""
_SETTINGS = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2"}  # 2 by default: the end of every training waits for it
_ELASTIC_SETTINGS = {
    # 60 by default: so long a group waits for a node that Ray does not know to be lost yet, before a smaller one is tried
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "8",
}

Told = TypeVar("Told")


@dataclass(frozen=True)
class WorkerContext:
    """What one training worker knows of the group it is in."""

    rank: int
    workers: int
    device: str
    say: Callable[[float, str], None] = field(default=lambda _done, _note: None)
    """Tell the person who waits: so much of all work is done. Rank 0's word counts."""


def train_workers(
    work: Callable[[Told, WorkerContext], Any], told: Told, *, workers: int | tuple[int, int], gpus: Gpus, bar: Bar
) -> Any:
    """Run `work(told, context)` on every worker of a group, its process group ready; returns rank 0's answer.

    `workers` may be the fewest and the most; `work` is begun anew whenever their number changes. Raises ResourceError for what the cluster can
    never give, TrainingError where the work raises or workers keep dying.
    """
    ray = require_ray()
    fewest, most = (workers, workers) if isinstance(workers, int) else workers
    each = gpus_each(ray, gpus)
    require_resources(ray, "training", processes=fewest, cpus=1, gpus=each)
    with (
        listening(ray, bar, elastic=fewest < most) as ear,
        tempfile.TemporaryDirectory(prefix="distill-train-") as scratch,
    ):
        trainer = _trainer({"work": work, "told": told, "ear": ear}, fewest, most, each, scratch)
        answer, lost = None, ""
        try:
            with keeping_signals(), _settings(ray, elastic=fewest < most):
                answer = trainer.fit().return_value
        except ray.train.TrainingFailedError as error:
            lost = str(error)
        except SystemExit:  # how Ray Train ends on Ctrl-C
            raise KeyboardInterrupt from None
        said = ray.get(ear.first_failure.remote()) or lost
    if said:
        raise TrainingError(said)
    return answer


def _trainer(config: dict[str, Any], fewest: int, most: int, gpus: float, scratch: str) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    return TorchTrainer(
        _worker,
        train_loop_config=config,
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=most if fewest == most else (fewest, most),
            use_gpu=bool(gpus),
            resources_per_worker={"CPU": 1, **({"GPU": gpus} if gpus else {})},
            elastic_resize_monitor_interval_s=RESIZE_SECONDS,
        ),
        run_config=RunConfig(
            name=uuid.uuid4().hex,
            storage_path=scratch,
            failure_config=FailureConfig(max_failures=-1),  # the ear decides
            callbacks=[_losses(config["ear"])],
        ),
    )


def _losses(ear: Any) -> Any:
    """Tells the ear of each lost group, from Ray Train's controller, which ends the training where this raises."""
    import ray
    from ray.train import UserCallback

    class Losses(UserCallback):
        def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:  # noqa: ARG002  Ray's signature
            said = "; ".join(f"rank {rank}: {error}" for rank, error in worker_exceptions.items())
            if ending := ray.get(ear.lose.remote(said)):
                raise RuntimeError(ending)
            look_at_nodes(ray)

    return Losses()


@contextlib.contextmanager
def _settings(ray: Any, *, elastic: bool) -> Iterator[None]:
    """Ray Train takes its controller's settings from this process's environment when `fit` begins. What the user set, here or for the whole job, stays."""
    theirs = {**os.environ, **(ray.get_runtime_context().runtime_env.get("env_vars") or {})}
    ours = {**_SETTINGS, **(_ELASTIC_SETTINGS if elastic else {})}
    added = {name: value for name, value in ours.items() if name not in theirs}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _worker(config: dict[str, Any]) -> Any:
    import ray
    import ray.train

    context, ear = ray.train.get_context(), config["ear"]
    rank, workers = context.get_world_rank(), context.get_world_size()

    def say(done: float, note: str) -> None:
        if rank == 0:
            ear.hear.remote(done, note)

    if ray.get(ear.begin.remote(rank, workers)):
        return None
    try:
        return config["work"](config["told"], WorkerContext(rank, workers, device_of_worker(ray), say))
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
