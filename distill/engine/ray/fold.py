"""Sums over chunks of rows: partial ► merge, in Ray tasks, with a result that does not depend on
how many workers there are.

Items are cut into groups by their number alone; a task folds its group in order, and groups are
merged in order. Floating-point sums are thus the same to the last bit on any cluster of the same
machines. A group's state is merged as soon as those before it are, and forgotten: this process
holds one sum, and what waits for its turn lies in Ray's object store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any, TypeVar

from distill.core.progress import LINE_EVERY_SECONDS, Bar, track
from distill.engine.ray.session import require_ray

Item = TypeVar("Item")
State = TypeVar("State")

_GROUPS = 256


def fold(
    title: str,
    partial: Callable[[Item], State],
    items: Sequence[Item],
    merge: Callable[[State, State], State],
    *,
    unit: str = "chunks",
    size: Callable[[Item], int] = lambda _item: 1,
) -> State:
    """merge(…, partial(item)) over all items, in item order within fixed groups; an item is `size`
    units. Raises what `partial` raises."""
    ray = require_ray()
    per_group = -(-len(items) // _GROUPS)
    groups = [items[start : start + per_group] for start in range(0, len(items), per_group)]
    shared = ray.put((partial, merge))
    task = ray.remote(num_cpus=1, max_retries=3)(_fold_group)
    left = {task.remote(shared, list(group)): sum(map(size, group)) for group in groups}
    with track(title, sum(map(size, items)), unit) as bar:
        return reduce(merge, _in_order(ray, left, bar, unit))


def _in_order(ray: Any, left: dict[Any, int], bar: Bar, unit: str) -> Iterator[Any]:
    """Tasks' answers in their order, each as soon as it and those before it are there, and an error
    at once. Empties `left`."""
    turn, done = deque(left), set[Any]()
    while left:
        ready, _ = ray.wait(list(left), num_returns=1, timeout=LINE_EVERY_SECONDS)
        for reference in ready:
            _get(ray, reference)
            bar.advance(left.pop(reference))
            done.add(reference)
        if not ready:
            bar.waits(f"{unit} to be done")
        while turn and turn[0] in done:
            done.remove(turn[0])
            yield _get(ray, turn.popleft())


def call_remotely(function: Callable[[], State]) -> State:
    """Run a function once on the cluster, on one CPU. Raises what it raises."""
    ray = require_ray()
    return _get(ray, ray.remote(num_cpus=1)(_call).remote(function))


def _call(function: Callable[[], Any]) -> Any:
    return function()


def _fold_group(
    shared: tuple[Callable[[Any], Any], Callable[[Any, Any], Any]], items: list[Any]
) -> Any:
    partial, merge = shared
    return reduce(merge, map(partial, items))


def _get(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
