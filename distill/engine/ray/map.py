"""Fragments through a pool of actors, by Ray Data: a fragment's task in, its answer out.

Rows of the pool never pass through Ray's object store on this way, so correctness rests on nothing
that Ray may change about blocks, and the framework's tax is paid a fragment and not a row. Tasks
and answers travel as JSON text: plain values.

What makes hundreds of thousands of fragments cheap to hand over: they are given to Ray as one small
table of packed text, and a task that needs no CPU lets them out again, a block a group, some
hundreds ahead of the answers. (Ray Data keeps every block that it knows in the driver: 20,000
one-row blocks were 7.6 s and 87 MB.) Groups that fit one pack are given as they are, which saves a
process its start. Answers come back one by one, since no block may hold two rows.

A group is worked on by one actor, one task after the other. Two calls an actor run at once, so that
one fragment is read or written while another holds the device. An actor that dies is replaced by
Ray and its groups are given out again; the commit protocol makes that harmless. A call that is
given out again makes the same blocks in the same order, as Ray's streams need.
"""

from __future__ import annotations

import contextlib
import gc
import json
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

from distill.core.errors import LabelerError
from distill.core.progress import LINE_EVERY_SECONDS, Bar
from distill.engine.protocol import Stream, stream_here
from distill.engine.ray.resources import (
    ANY,
    device_of_worker,
    gpus_each,
    require_resources,
    what_lacks,
)
from distill.engine.ray.session import require_ray
from distill.engine.ray.stop_signal import StopSignal
from distill.engine.ray.stream import stream
from distill.spec.labels import Compute

_PACK_GROUPS = 128
_MOST_AHEAD = 512
"""Tasks let out ahead of the answers; a stop waits for them to pass by, at some 4 ms each."""
_CALLS_AT_ONCE = 2
_POLL_SECONDS = 0.2
_JOIN_SECONDS = 5
"""A head node that is gone answers nobody."""
_MOST_SAID = 1_500

_working, _stop = threading.Event(), threading.Event()

Plain = dict[str, Any]
Told = TypeVar("Told")


def map_fragments(
    make: Callable[[Told, str, Stream], Callable[[Plain], Plain]],
    told: Told,
    groups: Iterable[list[Plain]],
    compute: Compute,
    bar: Bar,
) -> Generator[Plain, None, None]:
    """Call `make(told, device, stream)` once an actor and the result once a task; yield answers as
    they come, in no order.

    `stream` runs a generator where compute.prepare_on says. Raises ResourceError for what the
    cluster can never give, LabelerError where an actor cannot be built.
    """
    ray = require_ray()
    from ray import data as ray_data

    gpus, elsewhere = gpus_each(ray, compute.gpus), compute.prepare_on == "cluster"
    kept_free = compute.prepare_cpus if elsewhere else 0.0
    most = require_resources(
        ray,
        "labelling (compute.min)",
        processes=compute.min,
        cpus=compute.cpus,
        gpus=gpus,
        kept_free=kept_free,
    )
    brake = StopSignal()
    source, count = _blocks(ray_data, groups, brake, max(_MOST_AHEAD, 8 * compute.max))
    size = max(compute.min, min(compute.max, count, most))
    pool = ray_data.ActorPoolStrategy(
        # where nodes come on demand, all actors are asked for at once: Ray's pools grow one by one,
        # and a job may end before they have
        min_size=size if most == ANY else compute.min,
        max_size=size,
        max_tasks_in_flight_per_actor=2 * _CALLS_AT_ONCE,
        max_concurrent_calls_per_actor=_CALLS_AT_ONCE,
        enable_true_multi_threading=True,
    )
    dataset = source.map_batches(
        _Adapter,
        fn_constructor_kwargs={
            "make": make,
            "told": told,
            "brake": brake,
            "prepare_cpus": kept_free,
        },
        batch_size=1,
        batch_format="pyarrow",
        compute=pool,
        num_cpus=compute.cpus,
        num_gpus=gpus,
    )
    trouble = ""
    lacks = partial(what_lacks, ray, processes=compute.min, cpus=compute.cpus, gpus=gpus)
    with _watched(brake, bar, lacks) as arrived:
        batches = dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        try:
            for batch in batches:
                arrived(len(batch))
                yield from map(json.loads, batch["answer"].to_pylist())
        except GeneratorExit:
            # not simply let go: Ray's core aborts the process when a stream is dropped while it is
            # read (seen in 2.60)
            with contextlib.suppress(ray.exceptions.RayError):
                brake.pull()
                for batch in batches:
                    arrived(len(batch))
            raise
        except ray.exceptions.RayError as error:
            trouble = str(error)
    if trouble:
        # actors keep their CPUs until nothing holds the iterator or its exception (seen: the next
        # training waits for ever)
        del batches, dataset
        gc.collect()
        raise LabelerError(f"the labeler's actors cannot start, or keep dying:\n{_tail(trouble)}")
    if _stop.is_set():
        raise KeyboardInterrupt


def finish_and_stop() -> bool:
    """Let fragments in work be committed and begin no other; False where nothing is labelled now.
    For the process edge's Ctrl-C."""
    if not _working.is_set():
        return False
    _stop.set()
    return True


def _blocks(
    ray_data: Any, groups: Iterable[list[Plain]], brake: StopSignal, ahead: int
) -> tuple[Any, int]:
    """The groups as a dataset, a block each and one row in it, and how many there are."""
    left = iter(groups)
    first = list(islice(left, _PACK_GROUPS))
    more = next(left, None)
    if more is None:
        source, count = ray_data.from_blocks(list(map(_block, first))), len(first)
    else:
        packs, count = _packed(chain(first, [more], left))
        source = ray_data.from_blocks([packs])
    # a row is a block: each group is a call of its own, each answer is sent when it is there
    source.context.target_max_block_size = 1
    if more is None:
        return source, count
    told = {"brake": brake, "ahead": ahead}
    return (
        source.map_batches(
            _let_out, fn_kwargs=told, batch_size=1, batch_format="pyarrow", num_cpus=0
        ),
        count,
    )


def _block(group: list[Plain]) -> Any:
    import pyarrow as pa

    return pa.table({"group": [json.dumps(group)]})


def _packed(groups: Iterable[list[Plain]]) -> tuple[Any, int]:
    """Groups as rows of compressed text, so many in one, each with the number of tasks before it;
    and the number of groups."""
    import pyarrow as pa

    packs: list[bytes] = []
    firsts, tasks, count, left = [], 0, 0, iter(groups)
    while pack := list(islice(left, _PACK_GROUPS)):
        packs.append(zlib.compress(json.dumps(pack).encode(), 1))
        firsts.append(tasks)
        tasks += sum(map(len, pack))
        count += len(pack)
    return (
        pa.table({"pack": pa.array(packs, pa.binary()), "first": pa.array(firsts, pa.int64())}),
        count,
    )


def _let_out(batch: Any, brake: StopSignal, ahead: int) -> Iterator[Any]:
    """The groups of one pack, a row each, when all but `ahead` of the tasks before it are answered;
    none when the brake is pulled."""
    import pyarrow as pa

    (pack,), (first,) = batch["pack"].to_pylist(), batch["first"].to_pylist()
    while (lets := _lets_out(brake, first - ahead)) is None:
        time.sleep(_POLL_SECONDS)
    groups = json.loads(zlib.decompress(pack)) if lets else []
    yield pa.table({"group": pa.array(map(json.dumps, groups), pa.string())})


def _lets_out(brake: StopSignal, answered: int) -> bool | None:
    import ray

    try:
        return brake.lets_out(answered)
    except ray.exceptions.RayError:  # a head node that does not answer is asked again
        return None


class _Adapter:
    """The one class that Ray Data knows; it knows nothing of labelling."""

    def __init__(
        self,
        make: Callable[[Any, str, Stream], Any],
        told: Any,
        brake: StopSignal,
        prepare_cpus: float,
    ) -> None:
        import ray

        runs: Stream = partial(stream, cpus=prepare_cpus) if prepare_cpus else stream_here
        self.work, self.brake = make(told, device_of_worker(ray), runs), brake
        self.stopped, self.asked = False, -_POLL_SECONDS

    def __call__(self, batch: Any) -> Iterator[Any]:
        import pyarrow as pa

        for task in json.loads(batch["group"][0].as_py()):
            if not self._stops():
                yield pa.table({"answer": [json.dumps(self.work(task))]})

    def _stops(self) -> bool:
        import ray

        if not self.stopped and time.monotonic() - self.asked >= _POLL_SECONDS:
            self.asked = time.monotonic()
            with contextlib.suppress(
                ray.exceptions.RayError
            ):  # a head node that does not answer says nothing
                self.stopped = self.brake.is_pulled()
        return self.stopped


@contextlib.contextmanager
def _watched(
    brake: StopSignal, bar: Bar, lacks: Callable[[], str | None]
) -> Iterator[Callable[[int], None]]:
    """Say once a minute that nothing came, and pull the brake when asked; the yielded function says
    that so many answers came."""
    import ray

    over = threading.Event()
    last, answered, heard = time.monotonic(), 0, 0

    def arrived(answers: int) -> None:
        nonlocal last, answered
        last, answered = time.monotonic(), answered + answers

    def look() -> None:
        nonlocal heard
        if heard != answered:
            brake.hear(now := answered)
            heard = now
        if _stop.is_set():
            brake.pull()
        if time.monotonic() - last >= LINE_EVERY_SECONDS:
            # a bar says it once a minute, as often as it is told
            bar.waits(
                f"nodes to come: it needs {short}"
                if (short := lacks())
                else "labeler actors to start or to answer"
            )

    def watch() -> None:
        while not over.wait(_POLL_SECONDS):
            with contextlib.suppress(ray.exceptions.RayError):  # it is looked at again
                look()

    _stop.clear()
    _working.set()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield arrived
        with contextlib.suppress(ray.exceptions.RayError):  # after an error somebody may still ask
            brake.forget()
    finally:
        over.set()
        watcher.join(_JOIN_SECONDS)
        _working.clear()


def _tail(text: str) -> str:
    return text if len(text) <= _MOST_SAID else "…" + text[-_MOST_SAID:]
