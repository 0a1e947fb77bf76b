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
from collections.abc import Callable, Generator, Iterator, Sequence
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

_working, _stop = threading.Event(), threading.Event()

Plain = dict[str, Any]
Told = TypeVar("Told")


def map_fragments(
    make: Callable[[Told, str], Callable[[Plain], Plain]],
    told: Told,
    tasks: Sequence[Plain],
    compute: Compute,
    bar: Bar,
) -> Generator[Plain, None, None]:
    """Call `make(told, device)` once an actor and the result once a task; yield answers as they come, in no order.

    Raises ResourceError for what the cluster can never give, LabelerError where an actor cannot be built.
    """
    ray = require_ray()
    import pyarrow as pa
    from ray import data as ray_data

    gpus = gpus_each(ray, compute.gpus)
    require_resources(ray, "labelling (compute.min)", processes=compute.min, cpus=compute.cpus, gpus=gpus)
    brake = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Brake).remote()
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
        fn_constructor_kwargs={"make": make, "told": told, "brake": brake},
        batch_size=1,
        batch_format="pyarrow",
        compute=pool,
        num_cpus=compute.cpus,
        num_gpus=gpus,
    )
    trouble = ""
    with _watched(brake, bar) as arrived:
        batches = dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        try:
            for batch in batches:
                arrived()
                yield from _answers(batch)
        except GeneratorExit:
            # not simply let go: Ray's core aborts the process when a stream is dropped while it is read (seen in 2.60)
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(brake.pull.remote())
                for _ in batches:
                    arrived()
            raise
        except ray.exceptions.RayError as error:
            trouble = str(error)
    if trouble:
        # actors keep their CPUs until nothing holds the iterator or its exception (seen: the next training waits for ever)
        del batches, dataset
        gc.collect()
        raise LabelerError(f"the labeler's actors cannot start, or keep dying:\n{_tail(trouble)}")
    if _stop.is_set():
        raise KeyboardInterrupt


def finish_and_stop() -> bool:
    """Let fragments in work be committed and begin no other; False where nothing is labelled now. For the process edge's Ctrl-C."""
    if not _working.is_set():
        return False
    _stop.set()
    return True


class _Brake:
    """An actor that says whether to begin another fragment."""

    def __init__(self) -> None:
        self.pulled = False

    def pull(self) -> None:
        self.pulled = True

    def is_pulled(self) -> bool:
        return self.pulled


class _Adapter:
    """The one class that Ray Data knows; it knows nothing of labelling."""

    def __init__(self, make: Callable[[Any, str], Callable[[Plain], Plain]], told: Any, brake: Any) -> None:
        import ray

        self.work, self.brake, self.stopped = make(told, device_of_worker(ray)), brake, False

    def __call__(self, batch: Any) -> Any:
        import pyarrow as pa
        import ray

        if not self.stopped:
            with contextlib.suppress(ray.exceptions.RayError):  # a brake that was lost is not pulled
                self.stopped = ray.get(self.brake.is_pulled.remote())
        texts = [] if self.stopped else [json.dumps(self.work(json.loads(text))) for text in batch["task"].to_pylist()]
        return pa.table({"answer": pa.array(texts, pa.string())})


def _answers(batch: Any) -> Iterator[Plain]:
    return (json.loads(text) for text in batch["answer"].to_pylist())


@contextlib.contextmanager
def _watched(brake: Any, bar: Bar) -> Iterator[Callable[[], None]]:
    """Say once a minute that nothing came, and pull the brake when asked; the yielded function says that something came."""
    over = threading.Event()
    last = time.monotonic()

    def arrived() -> None:
        nonlocal last
        last = time.monotonic()

    def watch() -> None:
        while not over.wait(0.2):
            if _stop.is_set():
                brake.pull.remote()
            if time.monotonic() - last >= LINE_EVERY_SECONDS:
                bar.waits("labeler actors to start or to answer")
                arrived()

    _stop.clear()
    _working.set()
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield arrived
    finally:
        over.set()
        _working.clear()


def _tail(text: str) -> str:
    return text if len(text) <= _MOST_SAID else "…" + text[-_MOST_SAID:]
