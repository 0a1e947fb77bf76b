"""The border between stages and schedulers: a stage is given an `Engine` and knows nothing else of
how its work is carried out.

    map      tasks through a pool of workers that are built once each; results in any order
    fold     partial ► merge over items; the result does not depend on how many work on it
    call     one function, once
    train    data-parallel training workers with a process group between them

There are two engines: `distill.engine.ray` (Ray Data and Ray Train, the default) and
`distill.engine.local` (this process alone: one worker, no Ray, breakpoints work). Both write the
same labels, and with `gradients = "lanes"` the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from distill.core.errors import UnlearnableError
from distill.core.progress import Bar
from distill.spec.base import Gpus
from distill.spec.labels import Compute

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Plain = dict[str, Any]
"""Values that JSON has."""
Workers = int | tuple[int, int] | None
"""A fixed number of training workers, the fewest and the most, or None: the engine's own choice."""
Config = TypeVar("Config")
Item = TypeVar("Item")
State = TypeVar("State")


class Stream(Protocol):
    """How a worker runs the generator that feeds it: in its own process, or in another."""

    @property
    def threads(self) -> bool:
        """Whether the worker may run the user's code in threads beside its own. False where a
        breakpoint in that code is to stop the caller's thread."""

    def __call__(
        self, function: Callable[..., Iterator[Any]], *args: Any
    ) -> Generator[Any, None, None]:
        """Yield what `function(*args)` yields. Close it if not exhausted. Raises what `function`
        raises."""


@dataclass(frozen=True)
class StreamHere:
    """A `Stream` in the caller's thread: the generator runs as its items are taken."""

    threads: bool = True

    def __call__(
        self, function: Callable[..., Iterator[Any]], *args: Any
    ) -> Generator[Any, None, None]:
        """Yield what `function(*args)` yields."""
        yield from function(*args)


stream_here = StreamHere()


def _raise_unlearnable(part: str, reason: str) -> None:
    raise UnlearnableError(f"{part}: {reason}")


@dataclass(frozen=True)
class WorkerContext:
    """What one training worker knows of its team. Teams work side by side, on different parts."""

    rank: int
    """0 … workers − 1, within the team."""
    workers: int
    """Of the team."""
    device: str
    say: Callable[[str, float, str], None] = field(default=lambda _part, _done, _note: None)
    """Report how much of a part of the work is done, and a note. Only rank 0's call counts."""
    give_up: Callable[[str, str], None] = field(default=_raise_unlearnable)
    """Leave a part that cannot be done, for a reason that all ranks found. The team goes on with
    the others, and the reasons are raised when all are over. Only rank 0's call counts."""
    team: int = 0
    """0 … teams − 1: which parts are this team's own."""
    teams: int = 1
    group: ProcessGroup | None = None
    """In which the team communicates; None is torch's default one. One worker has none."""
    threads: bool = True
    """Whether the worker may run the user's code in threads beside its own, as `Stream.threads`."""
    paid_seconds: float = 0.0
    """How long the group was paid for before this worker began: its start, and groups that were
    lost."""


@dataclass(frozen=True)
class TrainingNeeds:
    """What a training will ask of its engine."""

    key: str
    """`students.NAME` or `fit.NAME`."""
    workers: Workers
    gpus: Gpus
    weights: int
    memory_bytes: int
    """Of a worker, at the least."""

    @property
    def memory(self) -> str:
        """The memory of a worker, in words."""
        return _gigabytes(self.memory_bytes)

    def too_large(self, there: str, has_bytes: float) -> str:
        """Say that a worker does not fit, where `there` has so many bytes."""
        return (
            f"{self.key}.model: a worker needs {self.memory} of memory to train"
            f" its {self.weights:,} weights, but {there} has {_gigabytes(has_bytes)}. Make its"
            f" layers narrower (hidden), or {self.key}.training.batch_rows smaller."
        )


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.3g} GB" if size < 1e11 else f"{size / 1e9:,.0f} GB"


Make = Callable[[Config, str, Stream], Callable[[Plain], Plain]]
"""Builds a worker from its configuration, its device and the way to run what feeds it."""


class Engine(Protocol):
    """Carries work out."""

    def for_short_work(self) -> Engine:
        """Return the engine for work that takes one core some seconds and runs no code of the
        user's: one that starts no workers, since they take longer to start."""

    def map(
        self,
        make: Make[Config],
        config: Config,
        groups: Iterable[list[Plain]],
        compute: Compute,
        bar: Bar,
    ) -> Generator[Plain, None, None]:
        """Call `make(config, device, stream)` once a worker and the worker once a task; yield its
        results as they come. Tasks of a group go to one worker, in order.

        `distill.engine.stop.finish_and_stop` ends it by KeyboardInterrupt, after the tasks in work.
        Close it if not exhausted: no other task begins. Raises ResourceError for what the engine
        can never give, LabelerError where a worker cannot be built.
        """

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
        """Return merge(…, partial(item)) over all items, in item order within fixed groups, the
        same to the last bit on every engine's CPUs. An item is `size` units of progress. A task
        takes so many `gpus`, and its partial learns of it by `distill.engine.device`. Raises what
        `partial` raises, ResourceError for what the engine can never give."""

    def call(self, function: Callable[[], State]) -> State:
        """Run a function once, on one CPU, and return its result. Raises what it raises."""

    def require(self, needs: TrainingNeeds) -> None:
        """Raise ResourceError where the engine can never give what a training will ask for: before
        the labels that it learns from are paid for."""

    def train(
        self,
        work: Callable[[Config, WorkerContext], Any],
        config: Config,
        *,
        workers: Workers,
        teams: int = 1,
        gpus: Gpus,
        bar: Bar,
    ) -> Any:
        """Run `work(config, context)` on every worker of a group; return rank 0's result.

        `workers` = (fewest, most) may run on any number between, so (1, n) on one. None says that
        nobody chose: Ray takes `USUAL_WORKERS`, the local engine one. A fixed number is a
        team, of which there are at most `teams` side by side. Raises ResourceError for what the
        engine can never give, TrainingError where the work raises, UnlearnableError where all was
        done but what was given up.
        """
