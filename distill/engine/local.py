"""The engine in this process: one worker, no Ray.

The user's code runs in the caller's thread and standard input and output are as they were, so
breakpoints work in a labeler, a loss or a network. What only a cluster can give is refused by name
when the stage that asks for it begins: GPUs, more than one worker, rows prepared elsewhere. The
result is the one that Ray gives: the same groups in a fold (`grouping`), the same threads in BLAS
(`threads`).
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from itertools import chain
from typing import Any

from distill.core.errors import DistillError, LabelerError, ResourceError
from distill.core.events import tell
from distill.core.progress import Bar, track
from distill.core.source import user_errors
from distill.engine.freed_memory import freed_memory_kept
from distill.engine.grouping import fixed_groups, fold_group
from distill.engine.memory import machine_memory
from distill.engine.protocol import (
    Config,
    Engine,
    Item,
    Make,
    Plain,
    State,
    StreamHere,
    TrainingNeeds,
    WorkerContext,
    Workers,
)
from distill.engine.stop import stop_requested, stoppable
from distill.engine.threads import worker_threads
from distill.engine.training import failure_text, training_error
from distill.spec.base import Gpus
from distill.spec.labels import Compute
from distill.spec.models import worker_range

_DEVICE = "cpu"
_NUMPY_ERRORS: Mapping[str, Any] = {
    "divide": "warn",
    "over": "warn",
    "under": "ignore",
    "invalid": "warn",
}
"""What numpy begins with."""


class LocalEngine:
    """An `Engine` whose one worker is the caller."""

    def for_short_work(self) -> Engine:
        """Return this one."""
        return self

    def map(
        self,
        make: Make[Config],
        config: Config,
        groups: Iterable[list[Plain]],
        compute: Compute,
        bar: Bar,  # noqa: ARG002  no worker is ever waited for
    ) -> Generator[Plain, None, None]:
        """Run all tasks in order, each when its result is asked for. See `Engine.map`."""
        _require_one_actor(compute)
        with stoppable(), _told_worker(compute.cpus), worker_threads(compute.cpus):
            worker = _build(make, config)
            # once more: building it may have loaded libraries
            with worker_threads(compute.cpus), freed_memory_kept():
                for task in chain.from_iterable(groups):
                    if stop_requested():
                        break
                    yield worker(task)

    def fold(
        self,
        title: str,
        partial: Callable[[Item], State],
        items: Sequence[Item],
        merge: Callable[[State, State], State],
        *,
        unit: str = "chunks",
        size: Callable[[Item], int] = lambda _item: 1,
        gpus: Gpus = 0,
    ) -> State:
        """Fold group by group. See `Engine.fold`."""
        _require_no_gpus("compute.gpus", gpus)
        sizes = map(size, items)
        total = sum(sizes)
        with _told_worker(), _own_process(), track(title, total, unit) as bar:

            def partial_of(item: Item) -> State:
                state = partial(item)
                bar.advance(size(item))
                return state

            states = (fold_group(partial_of, merge, group) for group in fixed_groups(items))
            return reduce(merge, states)

    def call(self, function: Callable[[], State]) -> State:
        """Run a function here. See `Engine.call`."""
        with _told_worker(), _own_process():
            return function()

    def require(self, needs: TrainingNeeds) -> None:
        """Refuse more than one worker, GPUs, and more memory than there is. See
        `Engine.require`."""
        _require_one_worker(needs.workers)
        _require_no_gpus("training.gpus", needs.gpus)
        has_bytes = machine_memory()
        if needs.memory_bytes > has_bytes:
            raise ResourceError(needs.too_large("this machine", has_bytes))

    def train(
        self,
        work: Callable[[Config, WorkerContext], Any],
        config: Config,
        *,
        workers: Workers,
        teams: int = 1,  # noqa: ARG002  one team does all parts, one after another
        gpus: Gpus,
        bar: Bar,
    ) -> Any:
        """Run the work here, as rank 0 of 1. See `Engine.train`."""
        _require_one_worker(workers)
        _require_no_gpus("training.gpus", gpus)
        parts = _Parts(bar)
        context = WorkerContext(0, 1, _DEVICE, parts.show, parts.give_up, threads=False)
        import torch

        try:
            # the work draws from torch's one generator, which it seeds for each step
            with _told_worker(), _own_process(), torch.random.fork_rng(devices=[]):
                result = work(config, context)
        except user_errors() as error:
            raise training_error(failure_text(error, rank=0), parts.given_up) from error
        if parts.given_up:
            raise training_error("", parts.given_up)
        return result


@contextmanager
def _told_worker(cpus: float = 1.0) -> Iterator[None]:
    """Tell that there is one worker, this process, for as long as the block runs."""
    tell("workers", workers=1, cpus=cpus, gpus=0.0)
    try:
        yield
    finally:
        tell("workers", workers=0)


@contextmanager
def _own_process() -> Iterator[None]:
    """Work as in a process of its own, as on Ray: a labeler in this one may have set how numbers
    are computed for all of it."""
    # here, since an engine is chosen before there is work
    import numpy as np

    torch: Any = sys.modules.get("torch")
    dtype = torch.get_default_dtype() if torch else None
    try:
        with worker_threads(1), freed_memory_kept(), np.errstate(**_NUMPY_ERRORS):
            if torch:
                torch.set_default_dtype(torch.float32)
            yield
    finally:
        if torch:
            torch.set_default_dtype(dtype)


class _Parts:
    """What is done of each part of a training, and which parts were given up."""

    def __init__(self, bar: Bar) -> None:
        self.bar = bar
        self.done: dict[str, float] = {}
        self.given_up: dict[str, str] = {}

    def show(self, part: str, done: float, note: str) -> None:
        """Move the bar by what was not done before, back where a part is done again."""
        more = done - self.done.get(part, 0.0)
        self.done[part] = done
        if more:
            self.bar.advance(more, note)

    def give_up(self, part: str, reason: str) -> None:
        """Remember why a part cannot be done."""
        self.given_up[part] = reason


def _build(make: Make[Config], config: Config) -> Callable[[Plain], Plain]:
    try:
        stream = StreamHere(threads=False)
        return make(config, _DEVICE, stream)
    except DistillError as error:
        raise LabelerError(f"the labeler's worker cannot be built: {error}") from error
    except user_errors() as error:
        trace = traceback.format_exc()
        raise LabelerError(f"the labeler's worker cannot be built:\n{trace}") from error


def _require_one_actor(compute: Compute) -> None:
    if compute.min > 1:
        raise _only_on_ray(f"compute.min = {compute.min}: more than one actor", "compute.min = 1")
    if compute.prepare_on == "cluster":
        what = 'compute.prepare_on = "cluster": preparing rows in other processes'
        raise _only_on_ray(what, 'compute.prepare_on = "actor"')
    _require_no_gpus("compute.gpus", compute.gpus)


def _require_one_worker(workers: Workers) -> None:
    if workers is None:
        return
    fewest, most = worker_range(workers)
    if fewest > 1:
        number = fewest if fewest == most else [fewest, most]
        what = f"training.workers = {number}: more than one worker"
        raise _only_on_ray(what, f"training.workers = 1 or [1, {most}]")


def _require_no_gpus(key: str, gpus: Gpus) -> None:
    if gpus != "auto" and gpus > 0:
        raise _only_on_ray(f"{key} = {gpus:g}: a GPU", f'{key} = 0 or "auto"')


def _only_on_ray(what: str, instead: str) -> ResourceError:
    return ResourceError(
        f"{what} is what only Ray gives, and this engine is one process. Set {instead} in the job,"
        ' or run it on Ray: the command without --local, run_job with engine = "ray".'
    )
