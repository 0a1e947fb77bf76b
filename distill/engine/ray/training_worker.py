"""What each worker of Ray Train runs: it finds its team, does the work, and tells the monitor of a
mistake in it before Ray Train can take that for a lost worker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from distill.core.source import user_errors
from distill.engine.freed_memory import keep_freed_memory
from distill.engine.protocol import WorkerContext
from distill.engine.ray.resources import device_of_worker
from distill.engine.ray.shipping import unpack
from distill.engine.training import failure_text


def run_worker(loop_config: dict[str, Any]) -> Any:
    """Do the work of one rank and return its result; None where the rank belongs to no team. The
    configuration is `train._trainer`'s."""
    import ray
    import ray.train

    monitor = loop_config["monitor"]
    of_ray = ray.train.get_context()
    rank = of_ray.get_world_rank()
    workers = of_ray.get_world_size()
    if ray.get(monitor.begin.remote(rank, workers)):
        return None
    try:
        # within: a plugin file that raises is a mistake too, and no lost worker
        work, config = unpack(loop_config["shipped"])
        context = _context(rank, workers, loop_config["team"] or workers, monitor)
        seconds = ray.get(monitor.seconds.remote())
        context = replace(context, paid_seconds=seconds)
        keep_freed_memory(context.device)
        return work(config, context) if context.team < context.teams else None
    except user_errors() as error:
        # a lost peer is Ray Train's affair: it starts the group again
        if not _is_lost_peer(error):
            ray.get(monitor.fail.remote(failure_text(error, rank)))
        _leave_group()
        raise


def _context(rank: int, workers: int, team_workers: int, monitor: Any) -> WorkerContext:
    import ray
    import torch.distributed

    # nothing is communicated between teams, so that one may end long before another
    team, rank_in_team = divmod(rank, team_workers)
    teams = workers // team_workers
    group = None
    if 1 < team_workers < workers and team < teams:
        first = rank - rank_in_team
        stop = first + team_workers
        ranks = range(first, stop)
        # local synchronization: else all wait for all, team by team
        group = torch.distributed.new_group(ranks, use_local_synchronization=True)

    def say(part: str, done: float, note: str) -> None:
        if rank_in_team == 0:
            monitor.report.remote(part, done, note)

    def give_up(part: str, reason: str) -> None:
        if rank_in_team == 0:
            given_up = monitor.give_up.remote(part, reason)
            ray.get(given_up)

    device = device_of_worker(ray)
    return WorkerContext(
        rank_in_team, team_workers, device, say, give_up, team=team, teams=teams, group=group
    )


def _is_lost_peer(error: BaseException) -> bool:
    """Return whether a collective failed because another rank is gone (gloo says so in a plain
    RuntimeError), or Ray Train took the process group away, as it does from the teams that still
    work when another one has lost a worker."""
    import torch.distributed

    return (
        isinstance(error, torch.distributed.DistError)
        or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())
        or not torch.distributed.is_initialized()
    )


def _leave_group() -> None:
    """Make the other ranks fail in their next collective at once instead of waiting for this one."""
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
