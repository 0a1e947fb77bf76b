"""The engine in this process: one worker, no Ray, nothing in other processes, so that breakpoints work in a user's own code."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import reduce
from typing import Any

from distill.core.progress import Bar, track
from distill.engine.protocol import Config, Item, Make, Plain, State, WorkerContext, stream_here
from distill.spec.base import Gpus
from distill.spec.labels import Compute


class LocalEngine:
    """An `Engine` of one worker, the caller."""

    def map(
        self,
        make: Make[Config],
        config: Config,
        groups: Iterable[list[Plain]],
        compute: Compute,  # noqa: ARG002
        bar: Bar,  # noqa: ARG002
    ) -> Generator[Plain, None, None]:
        """As `Engine.map`."""
        worker = make(config, "cpu", stream_here)
        for group in groups:
            for task in group:
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
    ) -> State:
        """As `Engine.fold`."""
        with track(title, sum(map(size, items)), unit):
            return reduce(merge, map(partial, items))

    def call(self, function: Callable[[], State]) -> State:
        """As `Engine.call`."""
        return function()

    def train(
        self,
        work: Callable[[Config, WorkerContext], Any],
        config: Config,
        *,
        workers: int | tuple[int, int] | None,  # noqa: ARG002
        teams: int = 1,  # noqa: ARG002
        gpus: Gpus,  # noqa: ARG002
        bar: Bar,  # noqa: ARG002
    ) -> Any:
        """As `Engine.train`."""
        return work(config, WorkerContext(0, 1, "cpu"))
