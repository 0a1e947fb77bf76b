"""What the workers of a team tell each other; nothing where there is one worker."""

from __future__ import annotations

from typing import TypeVar

import torch.distributed as dist
from torch import Tensor

from distill.engine.protocol import WorkerContext

Value = TypeVar("Value")


def sum_over_team(values: Tensor, context: WorkerContext) -> Tensor:
    """Add up what each worker has, in place. Returns the sum."""
    if context.workers > 1:
        dist.all_reduce(values, group=context.group)
    return values


def from_rank_0(value: Value, context: WorkerContext) -> Value:
    """Return what rank 0 has."""
    # a list, since torch writes what it receives into it
    values = [value]
    if context.workers > 1:
        dist.broadcast_object_list(values, group=context.group, group_src=0)
    return values[0]


def wait_for_team(context: WorkerContext) -> None:
    """Return when all workers have come here."""
    if context.workers > 1:
        dist.barrier(group=context.group)
