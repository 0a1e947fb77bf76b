"""The rows of one training on one worker: those it learns from, and those that say when to stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import repeat

from distill.loader.dataset import Arrays
from distill.loader.disk_cache import DiskCache
from distill.loader.loader import Loader
from distill.plan.training import TrainingPlan
from distill.stages.train.early_stopping import HeldOutMeasure
from distill.stages.train.step import forward_maker
from distill.stages.train.training_setup import TrainingSetup


@dataclass(frozen=True)
class Inputs:
    """Batches of each dataset, without end, and the measure over held-out rows, if there is one."""

    batches: Sequence[Iterator[Arrays]]
    measure: HeldOutMeasure | None


@contextmanager
def open_inputs(setup: TrainingSetup, first_step: int) -> Iterator[Inputs]:
    """Open the rows of a training from a step on; threads and files end with the context."""
    if setup.plan.training.private is not None:
        # it draws its own (`private_gradients`)
        nothing: Arrays = {}
        yield Inputs([repeat(nothing)], None)
        return
    with ExitStack() as stack:
        disk = _disk_cache(setup.plan)
        if disk is not None:
            # entered first, so closed last: the loaders' threads may write to it till then
            stack.enter_context(closing(disk))
        loaders = [stack.enter_context(closing(loader)) for loader in _loaders(setup, disk)]
        batches = [loader.batches(first_step) for loader in loaders]
        measure = _held_out_measure(setup, disk)
        yield Inputs(batches, measure)


def _loaders(setup: TrainingSetup, disk: DiskCache | None) -> list[Loader]:
    context = setup.context
    # on a CPU, a thread that gathers ahead takes time from the steps
    ahead = context.device != "cpu"
    return [
        Loader(
            dataset,
            sampler,
            rank=context.rank,
            workers=context.workers,
            ahead=ahead,
            threads=context.threads,
            disk=disk,
        )
        for dataset, sampler in zip(setup.plan.sources, setup.samplers, strict=True)
    ]


def _disk_cache(plan: TrainingPlan) -> DiskCache | None:
    """Where rows from elsewhere, and tokens, are kept near."""
    datasets = list(plan.sources)
    if plan.held_out is not None:
        datasets.append(plan.held_out.source)
    most_bytes = int(plan.training.cache_gb * 1e9)
    is_used = any(dataset.is_kept_near for dataset in datasets)
    return DiskCache(most_bytes) if is_used and most_bytes else None


def _held_out_measure(setup: TrainingSetup, disk: DiskCache | None) -> HeldOutMeasure | None:
    plan = setup.plan
    if plan.held_out is None:
        return None
    forward = forward_maker(plan.training, setup.context.device)(setup.network)
    return HeldOutMeasure(plan.held_out, plan.training, setup.context, forward, disk)
