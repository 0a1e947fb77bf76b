"""Fragments through a pool of actors, by Ray Data: one row a fragment in, one summary row back.

Rows of the pool never pass through Ray's object store on this way, so correctness rests on nothing that Ray may change about blocks,
and the framework's tax is paid a fragment (about 6 ms) and not a row. Tasks and summaries travel as JSON text: plain values.

Two calls an actor run at once, so that one fragment is read or written while another holds the device. An actor that dies is
replaced by Ray and its fragments are given out again; the commit protocol makes that harmless.
"""

from __future__ import annotations

import contextlib
import gc
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from distill.engine.resources import device_of_worker, gpus_each, require_resources
from distill.engine.session import require_ray
from distill.errors import LabelerError
from distill.job import Compute
from distill.progress import LINE_EVERY_SECONDS, Bar

_MOST_BLOCKS = 4_000
"""20,000 one-row blocks take 7.6 s and 87 MB in the driver; beyond this many, a block holds several fragments."""
_CALLS_AT_ONCE = 2
_MOST_SAID = 1_500

Plain = dict[str, Any]
Told = TypeVar("Told")


def map_fragments(
    make: Callable[[Told, str], Callable[[Plain], Plain]],
    told: Told,
    tasks: Sequence[Plain],
    compute: Compute,
    bar: Bar,
) -> Iterator[Plain]:
    """Call `make(told, device)` once an actor and the result once a task; yield answers as they come, in no order.

    Raises ResourceError for what the cluster can never give, LabelerError where an actor cannot be built.
    """
    ray = require_ray()
    import pyarrow as pa
    from ray import data as ray_data

    gpus = gpus_each(ray, compute.gpus)
    require_resources(ray, "labelling (compute.min)", processes=compute.min, cpus=compute.cpus, gpus=gpus)
    per_block = -(-len(tasks) // _MOST_BLOCKS)
    texts = [json.dumps(task) for task in tasks]
    blocks = [pa.table({"task": texts[start : start + per_block]}) for start in range(0, len(texts), per_block)]
    pool = ray_data.ActorPoolStrategy(
        min_size=compute.min,
        max_size=min(compute.max, max(compute.min, len(tasks))),
        max_tasks_in_flight_per_actor=2 * _CALLS_AT_ONCE,
        max_concurrent_calls_per_actor=_CALLS_AT_ONCE,
        enable_true_multi_threading=True,
    )
    dataset = ray_data.from_blocks(blocks).map_batches(
        _Adapter,
        fn_constructor_kwargs={"make": make, "told": told},
        batch_size=1,
        batch_format="pyarrow",
        compute=pool,
        num_cpus=compute.cpus,
        num_gpus=gpus,
    )
    trouble = ""
    with _waiting_lines(bar) as arrived:
        batches = dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        try:
            for batch in batches:
                arrived()
                yield from (json.loads(text) for text in batch["answer"].to_pylist())
        except ray.exceptions.RayError as error:
            trouble = str(error)
    if trouble:
        # actors keep their CPUs until nothing holds the iterator or its exception (seen: the next training waits for ever)
        del batches, dataset
        gc.collect()
        raise LabelerError(f"the labeler's actors cannot start, or keep dying:\n{_tail(trouble)}")


class _Adapter:
    """The one class that Ray Data knows; it knows nothing of labelling."""

    def __init__(self, make: Callable[[Any, str], Callable[[Plain], Plain]], told: Any) -> None:
        import ray

        self.work = make(told, device_of_worker(ray))

    def __call__(self, batch: Any) -> Any:
        import pyarrow as pa

        return pa.table({"answer": [json.dumps(self.work(json.loads(text))) for text in batch["task"].to_pylist()]})


@contextlib.contextmanager
def _waiting_lines(bar: Bar) -> Iterator[Callable[[], None]]:
    """Say once a minute that nothing came; the yielded function says that something did."""
    over = threading.Event()
    last = time.monotonic()

    def arrived() -> None:
        nonlocal last
        last = time.monotonic()

    def watch() -> None:
        while not over.wait(1.0):
            if time.monotonic() - last >= LINE_EVERY_SECONDS:
                bar.waits("labeler actors to start or to answer")
                arrived()

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield arrived
    finally:
        over.set()


def _tail(text: str) -> str:
    return text if len(text) <= _MOST_SAID else "…" + text[-_MOST_SAID:]
