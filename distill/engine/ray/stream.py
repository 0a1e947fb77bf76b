"""A generator that runs in a process of its own somewhere on the cluster; what it yields comes here
one by one.

Ray begins it again, from its start, where its process or machine dies, and drops what was handed
over already; so it must yield the same each time. Nothing of it is left running when the consumer
stops early or dies.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from distill.core.errors import LabelerError
from distill.engine.ray.shipping import ship, unpack

# items ahead of the consumer, so memory holds two
_AHEAD = 1
_RETRIES = 3


@dataclass(frozen=True)
class RemoteStream:
    """A `Stream` whose generators run in Ray tasks."""

    cpus: float = 1
    """Of each task."""
    threads: bool = True

    def __call__(
        self, function: Callable[..., Iterator[Any]], *args: Any
    ) -> Generator[Any, None, None]:
        """Yield what `function(*args)` yields. Raises what it raises, LabelerError where its
        process dies again and again."""
        import ray

        task = ray.remote(num_cpus=self.cpus, max_retries=_RETRIES)(_run)
        # the one private name: without it the task would run to its end and fill the object store
        ahead = task.options(num_returns="streaming", _generator_backpressure_num_objects=_AHEAD)
        shipped = ship((function, args))
        items = ahead.remote(shipped)
        try:
            for item in items:
                yield ray.get(item)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            raise LabelerError(
                f"the process that prepares rows was lost {_RETRIES + 1} times: {error}."
                " Give it more memory, or more of compute.prepare_cpus, so that fewer run on one"
                " machine."
            ) from error
        finally:
            # TypeError: it never began
            with contextlib.suppress(ray.exceptions.RayError, TypeError):
                ray.cancel(items, force=True)


def _run(shipped: Any) -> Iterator[Any]:
    function, args = unpack(shipped)
    yield from function(*args)
