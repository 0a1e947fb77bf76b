"""A group of data-parallel training workers, by Ray Train: the process groups, restarts after lost
workers, another number of them, and progress.

We keep our own checkpoints (Ray's latest is the latest *polled*, and a killed driver's run resumes
from an older one than storage holds), so nothing is reported to Ray Train and its storage path
stays a temporary folder. Ray Train starts the group again after a lost process, but cannot tell
that from a mistake in the code it runs. So a worker that raises says so first, to the ear
(`engine.ear`), and so does the controller of a group that is lost: it ends where the ear says so.
(Restarts of our own by a new `fit()` were tried: a worker lost while its group starts leaves its
placement group reserved for ever.)

With a range of workers Ray Train starts as many as there is room for now, and looks every
`RESIZE_SECONDS` whether there is room for another number. It may start any number of the range.
That is as well: lanes are dealt round, and sums over a global batch do not ask who held what
(`train.gradients`), so no number leaves a worker idle unless some lanes would wait for it anyway.

A fixed number of workers is a *team*. Where the work has parts enough and the nodes have room, one
group holds several: ranks 0 … W−1 are the first team, and so on. Each has a process group of its
own, and nothing is said between teams, so that one may end long before another. One start and one
controller serve all; a lost worker starts all teams again. Such a group is a range too, from one
team to as many as there was room for: with a node less there are fewer teams, and workers that make
up no team end at once.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import traceback
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from distill.core.errors import DistillError, TrainingError, UnlearnableError
from distill.core.progress import Bar
from distill.engine.protocol import WorkerContext
from distill.engine.ray.monitor import monitored
from distill.engine.ray.resources import (
    device_of_worker,
    gpus_each,
    look_at_nodes,
    require_resources,
    room_now,
)
from distill.engine.ray.session import keeping_signals, require_ray
from distill.spec.base import Gpus
from distill.spec.models import USUAL_WORKERS

if TYPE_CHECKING:
    pass

RESIZE_SECONDS = 20.0
"""As often as Ray's coordinator of resources looks at the nodes; each change of number costs a
start and the steps since the newest checkpoint."""
_SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5"
}  # 2 by default: the end of every training waits for it
_ELASTIC_SETTINGS = {
    # 60 by default: so long a group waits for a node that Ray does not know to be lost yet, before
    # a smaller one is tried
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "8",
}

Told = TypeVar("Told")


def train_workers(
    work: Callable[[Told, WorkerContext], Any],
    told: Told,
    *,
    workers: int | tuple[int, int] | None,
    teams: int = 1,
    gpus: Gpus,
    bar: Bar,
) -> Any:
    """Run `work(told, context)` on every worker of a group, its process group ready; returns rank
    0's answer.

    `workers` may be the fewest and the most; `work` is begun anew whenever their number changes. A
    fixed number is a team, of which there are at most `teams` side by side, as far as the nodes
    have room. Raises ResourceError for what the cluster can never give, TrainingError where the
    work raises or workers keep dying, UnlearnableError where all was done but what was given up.
    """
    ray = require_ray()
    workers = workers or USUAL_WORKERS
    fewest, most = (workers, workers) if isinstance(workers, int) else workers
    each = gpus_each(ray, gpus)
    require_resources(ray, "training", processes=fewest, cpus=1, gpus=each)
    team = fewest if fewest == most and teams > 1 else 0
    if team:
        room = room_now(ray, most=team * teams, cpus=1, gpus=each)
        most = team * max(1, room // team)
    with (
        monitored(ray, bar, elastic=fewest < most) as ear,
        tempfile.TemporaryDirectory(prefix="distill-train-") as scratch,
    ):
        trainer = _trainer(
            {"work": work, "told": told, "ear": ear, "team": team}, fewest, most, each, scratch
        )
        answer, lost = None, ""
        try:
            with keeping_signals(), _settings(ray, elastic=fewest < most):
                answer = trainer.fit().return_value
        except ray.train.TrainingFailedError as error:
            lost = str(error)
        except SystemExit:  # how Ray Train ends on Ctrl-C
            raise KeyboardInterrupt from None
        said, given_up = (
            ray.get(ear.first_failure.remote()) or lost,
            ray.get(ear.all_given_up.remote()),
        )
    if said:
        raise TrainingError("\n".join([said, *given_up]))
    if given_up:
        raise UnlearnableError("\n".join(given_up))
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
    """Tells the ear of each lost group, from Ray Train's controller, which ends the training where
    this raises."""
    import ray
    from ray.train import UserCallback

    class Losses(UserCallback):
        def after_exception(
            self,
            run_context: Any,  # noqa: ARG002  Ray's signature
            worker_exceptions: dict[int, Exception],
        ) -> None:
            said = "; ".join(f"rank {rank}: {error}" for rank, error in worker_exceptions.items())
            if ending := ray.get(ear.lose.remote(said)):
                raise RuntimeError(ending)
            look_at_nodes(ray)

    return Losses()


@contextlib.contextmanager
def _settings(ray: Any, *, elastic: bool) -> Iterator[None]:
    """Ray Train takes its controller's settings from this process's environment when `fit` begins.
    What the user set, here or for the whole job, stays."""
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

    told, ear = ray.train.get_context(), config["ear"]
    rank, workers = told.get_world_rank(), told.get_world_size()
    if ray.get(ear.begin.remote(rank, workers)):
        return None
    try:
        context = _context(rank, workers, config["team"] or workers, ear)
        return config["work"](config["told"], context) if context.team < context.teams else None
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


def _context(rank: int, workers: int, team_workers: int, ear: Any) -> WorkerContext:
    import ray
    import torch.distributed

    team, place = divmod(rank, team_workers)
    teams, group = workers // team_workers, None
    if 1 < team_workers < workers and team < teams:
        mates = range(rank - place, rank - place + team_workers)
        group = torch.distributed.new_group(
            mates, use_local_synchronization=True
        )  # else all wait for all, team by team

    def say(part: str, done: float, note: str) -> None:
        if place == 0:
            ear.hear.remote(part, done, note)

    def give_up(part: str, reason: str) -> None:
        if place == 0:
            ray.get(ear.give_up.remote(part, reason))

    return WorkerContext(
        place, team_workers, device_of_worker(ray), say, give_up, team, teams, group
    )


def _is_lost_peer(error: Exception) -> bool:
    """Whether a collective failed because another rank is gone (gloo says so in a plain
    RuntimeError), or Ray Train took the process group away, as it does from the teams that still
    work when another one has lost a worker."""
    import torch.distributed

    return (
        isinstance(error, torch.distributed.DistError)
        or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())
        or not torch.distributed.is_initialized()
    )


def _leave_group() -> None:
    """Make the other ranks fail in their next collective at once, instead of waiting for this one."""
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
