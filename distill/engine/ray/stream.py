"""A generator that runs in a process of its own somewhere on the cluster; what it yields comes here
one by one.

It runs one item ahead of who asks and no further, so memory holds two. Ray begins it again, from
its start, where its process or machine dies, and drops what was handed over already; so it must
yield the same each time. Nothing of it is left running when who asks stops early or dies.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import Any

from distill.core.errors import LabelerError

_AHEAD = 1
_RETRIES = 3


def stream(
    function: Callable[..., Iterator[Any]], *args: Any, cpus: float = 1
) -> Generator[Any, None, None]:
    """In a Ray task that takes `cpus`. Raises what the function raises; LabelerError where its
    process dies again and again."""
    import ray

    task = ray.remote(num_cpus=cpus, max_retries=_RETRIES)(_run)
    # the one private name: without it the task would run to its end and fill the object store
    items = task.options(
        num_returns="streaming", _generator_backpressure_num_objects=_AHEAD
    ).remote(function, args)
    try:
        for item in items:
            yield ray.get(item)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise LabelerError(
            f"the process that prepares rows was lost {_RETRIES + 1} times: {error}. Give it more"
            " memory, or more of compute.prepare_cpus, so that fewer run on one machine."
        ) from error
    finally:
        with contextlib.suppress(ray.exceptions.RayError, TypeError):  # TypeError: it never began
            ray.cancel(items, force=True)


def _run(function: Callable[..., Iterator[Any]], args: tuple[Any, ...]) -> Iterator[Any]:
    yield from function(*args)
