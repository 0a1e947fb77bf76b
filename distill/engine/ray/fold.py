"""Sums over chunks of rows: partial ► merge in Ray tasks, a group of items each (`grouping`)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any

from distill.core.events import tell
from distill.core.progress import LINE_EVERY_SECONDS, Bar, track
from distill.engine.device import on_device
from distill.engine.grouping import fixed_groups, fold_group
from distill.engine.protocol import Item, State
from distill.engine.ray.resources import (
    Needs,
    device_of_worker,
    gpus_each,
    require_resources,
    room_in_all,
)
from distill.engine.ray.session import require_ray
from distill.engine.ray.shipping import ship, unpack
from distill.engine.stop import gives_up, waiting
from distill.spec.base import Gpus

_RETRIES = 3
_LOOK_SECONDS = 1.0


def fold(
    title: str,
    partial: Callable[[Item], State],
    items: Sequence[Item],
    merge: Callable[[State, State], State],
    *,
    unit: str = "chunks",
    size: Callable[[Item], int] = lambda _item: 1,
    gpus: Gpus = 0,
) -> State:
    """Return merge(…, partial(item)) over all items. See `Engine.fold`."""
    ray = require_ray()
    needs = Needs(1, 1, gpus_each(ray, gpus))
    if needs.gpus:
        require_resources(ray, f"{title}: a task", needs)
    # put once: as arguments of each task they would be sent with every one
    shared = ray.put(ship((partial, merge)))
    options = {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "max_retries": _RETRIES}
    task = ray.remote(**options)(_fold_group)
    watch = _Watch(ray, needs)
    pending: dict[Any, int] = {}
    for group in fixed_groups(items):
        reference = task.remote(shared, ship(list(group)))
        pending[reference] = sum(map(size, group))
    with track(title, sum(pending.values()), unit) as bar, waiting(), watch:
        # merged as they come in order, and released: here lies one sum, the rest in Ray's object
        # store
        states = _in_order(ray, pending, bar, unit, watch)
        return reduce(merge, states)


class _Watch:
    """Tells how many tasks run, as far as the cluster has room for them; and ends the wait where
    nobody is to wait for nodes (`engine.stop.waiting`)."""

    def __init__(self, ray: Any, needs: Needs) -> None:
        self.ray = ray
        self.needs = needs
        self.running = 0

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self._tell(0)

    def look(self, pending: int) -> None:
        """So many tasks are not done. Raises KeyboardInterrupt where none can run."""
        room = room_in_all(self.ray, self.needs)
        self._tell(min(pending, room))
        if gives_up() and not self.running:
            raise KeyboardInterrupt

    def _tell(self, running: int) -> None:
        if running != self.running:
            self.running = running
            tell("workers", workers=running, cpus=self.needs.cpus, gpus=self.needs.gpus)


def _in_order(
    ray: Any, pending: dict[Any, int], bar: Bar, unit: str, watch: _Watch
) -> Iterator[Any]:
    """Yield the tasks' states in their order, each as soon as it and those before it are there, and
    raise an error at once. `pending` is task → size, and is emptied."""
    turn = deque(pending)
    done: set[Any] = set()
    looked = -_LOOK_SECONDS
    newest = time.monotonic()
    while pending:
        if time.monotonic() - looked >= _LOOK_SECONDS:
            watch.look(len(pending))
            looked = time.monotonic()
        ready, _ = ray.wait(list(pending), num_returns=1, timeout=_LOOK_SECONDS)
        for reference in ready:
            _get(ray, reference)
            size = pending.pop(reference)
            bar.advance(size)
            done.add(reference)
            newest = time.monotonic()
        if time.monotonic() - newest >= LINE_EVERY_SECONDS:
            bar.waits(f"{unit} to be done")
        while turn and turn[0] in done:
            done.remove(turn[0])
            # not by a name, which would keep the state in the store while it is merged
            yield _get(ray, turn.popleft())


def call_remotely(function: Callable[[], State]) -> State:
    """Run a function once on the cluster, on one CPU. See `Engine.call`."""
    ray = require_ray()
    task = ray.remote(num_cpus=1)(_call)
    reference = task.remote(ship(function))
    tell("workers", workers=1, cpus=1.0, gpus=0.0)
    try:
        return _get(ray, reference)
    finally:
        tell("workers", workers=0)


def _call(shipped: Any) -> Any:
    function = unpack(shipped)
    return function()


def _fold_group(shared: Any, items: Any) -> Any:
    import ray

    partial, merge = unpack(shared)
    group = unpack(items)
    with on_device(device_of_worker(ray)):
        return fold_group(partial, merge, group)


def _get(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
