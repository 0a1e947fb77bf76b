"""A group of data-parallel training workers, by Ray Train: the process groups, restarts after lost
workers, another number of them, and progress.

We keep our own checkpoints, and nothing is reported to Ray Train. It starts the group again after a
lost process, but cannot tell that from a mistake in the code it runs. So a worker that raises first
tells the monitor (`monitor`), and so does the controller of a group that is lost: it ends where the
monitor says so.

With a range of workers Ray Train starts as many as there is room for now, and looks every
`RESIZE_SECONDS` whether there is room for another number.

A fixed number of workers is a *team*. Where the work has parts enough and the nodes have room, one
group holds several: ranks 0 … W−1 are the first team, and so on. One start and one controller serve
all; a lost worker starts all teams again.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from distill.core.errors import ResourceError
from distill.core.progress import Bar
from distill.engine.protocol import Config, TrainingNeeds, WorkerContext, Workers
from distill.engine.ray.memory import largest_gpu_memory, largest_memory
from distill.engine.ray.monitor import monitored
from distill.engine.ray.resources import (
    Needs,
    gpus_each,
    look_at_nodes,
    most_gpus,
    require_resources,
    room_now,
)
from distill.engine.ray.session import keeping_signals, require_ray
from distill.engine.ray.shipping import ship
from distill.engine.ray.training_worker import run_worker
from distill.engine.training import training_error
from distill.spec.base import Gpus
from distill.spec.models import worker_range

log = logging.getLogger(__name__)

# as often as Ray's coordinator of resources looks at the nodes; each change of number costs a start
# and the steps since the newest checkpoint
RESIZE_SECONDS = 20.0
# between two looks whether there is room for a group to begin
ROOM_SECONDS = 0.1
# less than what any node or GPU has on which somebody trains
_WORTH_TELLING_BYTES = 4 << 30
_SETTINGS = {
    # 2 by default: the end of every training waits for it
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
}
_ELASTIC_SETTINGS = {
    # 60 by default: so long a group waits for a node that Ray does not know to be lost yet, before
    # a smaller one is tried
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "8",
}


@dataclass(frozen=True)
class _Group:
    """The worker group that a training may have."""

    fewest: int
    most: int
    gpus: float
    """Of each worker."""
    team: int = 0
    """Workers of a team; 0 where the whole group is one."""

    @property
    def needs(self) -> Needs:
        """What the fewest workers need."""
        return Needs(self.fewest, 1, self.gpus)

    @property
    def elastic(self) -> bool:
        return self.fewest < self.most


def train_workers(
    work: Callable[[Config, WorkerContext], Any],
    config: Config,
    *,
    workers: Workers,
    teams: int = 1,
    gpus: Gpus,
    bar: Bar,
) -> Any:
    """Run the work on a worker group of Ray Train, begun anew whenever its size changes. See
    `Engine.train`.

    Raises TrainingError also where workers keep dying.
    """
    ray = require_ray()
    group = _group(ray, workers, teams, gpus)
    with (
        monitored(ray, bar, group.needs, elastic=group.elastic) as monitor,
        tempfile.TemporaryDirectory(prefix="distill-train-") as scratch,
    ):
        loop_config = {"shipped": ship((work, config)), "monitor": monitor, "team": group.team}
        trainer = _trainer(loop_config, group, scratch)
        result = None
        lost = ""
        try:
            with keeping_signals(), _settings(ray, elastic=group.elastic):
                result = trainer.fit().return_value
        except ray.train.TrainingFailedError as error:
            lost = str(error)
        except SystemExit:  # how Ray Train ends on Ctrl-C
            raise KeyboardInterrupt from None
        failure, given_up = ray.get(monitor.outcome.remote())
    failure = failure or lost
    if failure or given_up:
        raise training_error(failure, given_up)
    return result


def require_training(needs: TrainingNeeds) -> None:
    """Refuse more than the cluster can give. See `Engine.require`."""
    ray = require_ray()
    try:
        group = _group(ray, needs.workers, 1, needs.gpus)
    except ResourceError as error:
        raise ResourceError(f"{needs.key}.training: {error}") from error
    where = "the largest GPU" if group.gpus else "the largest node"
    has_bytes = largest_gpu_memory(ray) if group.gpus else largest_memory(ray)
    if needs.memory_bytes > has_bytes:
        raise ResourceError(needs.too_large(where, has_bytes))
    if needs.memory_bytes > _WORTH_TELLING_BYTES and has_bytes == math.inf:
        what = "%s: a worker needs %s of memory to train; nobody tells how much %s has"
        log.warning(what, needs.key, needs.memory, where)


def _group(ray: Any, workers: Workers, teams: int, gpus: Gpus) -> _Group:
    """Return the group for `workers`, with as many teams as the nodes have room for. Raises
    ResourceError."""
    fewest, most = worker_range(workers)
    gpus_of_each = gpus_each(ray, gpus)
    group = _Group(fewest, most, gpus_of_each)
    if workers is None and gpus == "auto" and group.gpus:
        # nobody chose either number: a machine with one GPU has room for one worker
        room = int(min(most_gpus(ray), most))
        fewest = max(1, room)
        group = replace(group, fewest=fewest, most=fewest)
    require_resources(ray, "training", group.needs)
    if group.elastic or teams == 1:
        return group
    room = room_now(ray, Needs(fewest * teams, 1, group.gpus))
    # a range too, from one team on: with a node less there are fewer teams, and workers that make
    # up none end at once
    fitting_teams = max(1, room // fewest)
    room_for = fewest * fitting_teams
    return replace(group, most=room_for, team=fewest)


def _trainer(loop_config: dict[str, Any], group: _Group, scratch: str) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    class WithoutDatasets(TorchTrainer):
        def _create_default_callbacks(self) -> list[Any]:
            callbacks = super()._create_default_callbacks()
            # one that starts a process for Ray Data's datasets, with each group: 2 CPU-seconds of
            # imports for none of ours
            return [each for each in callbacks if type(each).__name__ != "DatasetsCallback"]

    resources = {"CPU": 1.0}
    backend = "gloo"
    if group.gpus:
        resources["GPU"] = group.gpus
        backend = "nccl"
    # any number of a range will do: lanes are dealt round, and sums over a global batch do not
    # depend on who has which rows
    workers = (group.fewest, group.most) if group.elastic else group.most
    return WithoutDatasets(
        run_worker,
        train_loop_config=loop_config,
        torch_config=TorchConfig(backend=backend),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=bool(group.gpus),
            resources_per_worker=resources,
            elastic_resize_monitor_interval_s=RESIZE_SECONDS,
        ),
        run_config=RunConfig(
            # a name that was used before would resume the old run
            name=uuid.uuid4().hex,
            # for none of ours: Ray's latest checkpoint is the latest polled, and a killed driver's
            # run resumes from an older one than storage holds
            storage_path=scratch,
            # the monitor decides. No new `fit()` in place of a restart: a worker that was lost while
            # its group started left its placement group reserved for ever
            failure_config=FailureConfig(max_failures=-1),
            callbacks=[_lost_groups(loop_config["monitor"]), *paced()],
        ),
    )


def paced() -> list[Any]:
    """Return what has Ray Train's controller pause where a group waits for room: it would ask for it
    again and again, and take a CPU of the head's for as long as no node comes (Ray 2.60). It answers
    nobody meanwhile, as it does not without."""
    try:
        from ray.train.v2._internal.execution.callback import ControllerCallback
    except ImportError:  # a Ray that has it elsewhere, or needs it no more
        return []

    class Paced(ControllerCallback):
        def after_controller_state_update(self, previous: Any, current: Any, **_: Any) -> None:
            if current is previous:  # nothing was decided
                time.sleep(ROOM_SECONDS)

    return [Paced()]


def _lost_groups(monitor: Any) -> Any:
    """Return what tells the monitor of each lost group, from Ray Train's controller, which ends the
    training where this raises."""
    import ray
    from ray.train import UserCallback

    class LostGroups(UserCallback):
        def after_exception(
            self,
            run_context: Any,  # noqa: ARG002  Ray's signature
            worker_exceptions: dict[int, Exception],
        ) -> None:
            reasons = [f"rank {rank}: {error}" for rank, error in worker_exceptions.items()]
            preempted = any(map(_is_preempted, worker_exceptions.values()))
            failure = ray.get(monitor.lose.remote("; ".join(reasons), preempted))
            if failure:
                raise RuntimeError(failure)
            look_at_nodes(ray)

    return LostGroups()


def _is_preempted(error: Exception) -> bool:
    """Return whether a worker's node was taken away, as Ray Train itself tells it."""
    # what its health check met is wrapped
    cause = getattr(error, "health_check_failure", error)
    return bool(getattr(cause, "preempted", False))


@contextlib.contextmanager
def _settings(ray: Any, *, elastic: bool) -> Iterator[None]:
    """Set in this process's environment what Ray Train's controller takes from there when `fit`
    begins. What the user set, here or for the whole job, stays."""
    of_the_job = ray.get_runtime_context().runtime_env.get("env_vars") or {}
    taken = {**os.environ, **of_the_job}
    wanted = dict(_SETTINGS)
    if elastic:
        wanted.update(_ELASTIC_SETTINGS)
    added = {name: value for name, value in wanted.items() if name not in taken}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
