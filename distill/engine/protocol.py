"""What carries work out. Stages are given an `Engine` and know nothing else of schedulers.

    map      tasks through a pool of workers that are built once each, their answers in any order
    fold     partial ► merge over items, with a result that does not depend on how many work on it
    call     one function, once
    train    data-parallel training workers with a process group between them

There are two: `distill.engine.ray` (Ray Data and Ray Train, the default) and `distill.engine.local` (this process alone: one worker, no
Ray, breakpoints work). Both give the same labels, and with `gradients = "lanes"` the same weights.
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
"""Values that JSON can say."""
Config = TypeVar("Config")
Item = TypeVar("Item")
State = TypeVar("State")


class Stream(Protocol):
    """How to run a generator: here, or elsewhere."""

    def __call__(
        self, function: Callable[..., Iterator[Any]], *args: Any
    ) -> Generator[Any, None, None]:
        """Yield what `function(*args)` yields. Raises what it raises. Close it if not exhausted."""


def stream_here(function: Callable[..., Iterator[Any]], *args: Any) -> Generator[Any, None, None]:
    """Run the generator in this thread, item by item as it is asked."""
    yield from function(*args)


def _raise(part: str, reason: str) -> None:
    raise UnlearnableError(f"{part}: {reason}")


@dataclass(frozen=True)
class WorkerContext:
    """What one training worker knows of the team it is in."""

    rank: int
    workers: int
    device: str
    say: Callable[[str, float, str], None] = field(default=lambda _part, _done, _note: None)
    """Tell the person who waits how much of a part of the work is done. Rank 0's word counts."""
    give_up: Callable[[str, str], None] = field(default=_raise)
    """Leave a part of the work that cannot be done, for a reason that all ranks have found: the
    team goes on with others, and it is raised when all are over. Rank 0's word counts."""
    team: int = 0
    teams: int = 1
    """Side by side; each knows by these two which parts are its own."""
    group: ProcessGroup | None = None
    """In which the team communicates; None is torch's default one."""


Make = Callable[[Config, str, Stream], Callable[[Plain], Plain]]
"""Builds a worker from its configuration, its device and the way to stream what it needs."""


class Engine(Protocol):
    """Carries work out."""

    def map(
        self,
        make: Make[Config],
        config: Config,
        groups: Iterable[list[Plain]],
        compute: Compute,
        bar: Bar,
    ) -> Generator[Plain, None, None]:
        """Call `make(config, device, stream)` once a worker and the result once a task; yield
        answers as they come, in no order. Tasks of a group go to one worker, in order.

        Raises ResourceError for what the engine can never give, LabelerError where a worker cannot
        be built.
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
    ) -> State:
        """Return merge(…, partial(item)) over all items, in item order within fixed groups; an item
        is `size` units. The result is the same to the last bit on every engine. Raises what
        `partial` raises."""

    def call(self, function: Callable[[], State]) -> State:
        """Run a function once, on one CPU. Raises what it raises."""

    def train(
        self,
        work: Callable[[Config, WorkerContext], Any],
        config: Config,
        *,
        workers: int | tuple[int, int] | None,
        teams: int = 1,
        gpus: Gpus,
        bar: Bar,
    ) -> Any:
        """Run `work(config, context)` on every worker of a group; return rank 0's answer.

        `workers` may be the fewest and the most; None is what the engine takes by itself. A fixed number is a team, of which there are at
        most `teams` side by side. Raises ResourceError for what the engine can never give,
        TrainingError where the work raises, UnlearnableError where all was done but what was given
        up.
        """
