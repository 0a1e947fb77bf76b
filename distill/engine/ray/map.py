"""Fragments through a pool of actors, by Ray Data: a fragment's task in, its result out.

Rows of the pool never pass through Ray's object store on this way, so correctness rests on nothing
that Ray may change about blocks, and the framework's cost is paid a fragment and not a row. Tasks
and results travel as JSON text: plain values. `hand_out` brings tasks to the actors, and results
come back one by one, since no block may hold two rows.

A group is worked on by one actor, one task after the other. An actor that dies is replaced by Ray
and its groups are given out again; the commit protocol makes that harmless. A call that is given
out again makes the same blocks in the same order, as Ray's streams need.
"""

from __future__ import annotations

import contextlib
import gc
import json
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from functools import partial
from typing import Any

from distill.core.errors import LabelerError
from distill.core.events import tell
from distill.core.progress import LINE_EVERY_SECONDS, Bar
from distill.engine.protocol import Config, Make, Plain
from distill.engine.ray.abandoned import AbandonedError, abandon, let_abandon
from distill.engine.ray.adapter import MapActor
from distill.engine.ray.draining import DrainingNodes
from distill.engine.ray.hand_out import group_blocks
from distill.engine.ray.head import Head, watched_head
from distill.engine.ray.living import LivingWorkers
from distill.engine.ray.lost_nodes import LostNodes
from distill.engine.ray.resources import ANY, Needs, gpus_each, require_resources, what_lacks
from distill.engine.ray.session import require_ray
from distill.engine.ray.shipping import ship
from distill.engine.ray.stop_signal import POLL_SECONDS, StopSignal
from distill.engine.stop import stop_requested, stoppable
from distill.spec.labels import Compute

# of an actor: one fragment is read or written while another holds the device
_CALLS_AT_ONCE = 2
# a head node that is gone lets a thread wait for ever
_JOIN_SECONDS = 5
_MOST_CHARACTERS = 1_500
"""Of what Ray says of its actors."""


def map_fragments(
    make: Make[Config], config: Config, groups: Iterable[list[Plain]], compute: Compute, bar: Bar
) -> Generator[Plain, None, None]:
    """Yield the results of all tasks, in no order; what feeds a worker runs where
    compute.prepare_on says. See `Engine.map`."""
    ray = require_ray()
    needs = Needs(compute.min, compute.cpus, gpus_each(ray, compute.gpus))
    prepare_cpus = compute.prepare_cpus if compute.prepare_on == "cluster" else 0.0
    most = require_resources(ray, "labelling (compute.min)", needs, reserved_cpus=prepare_cpus)
    stop_signal = StopSignal()
    source, count = group_blocks(groups, stop_signal, compute.max)
    let_abandon(source)
    dataset = source.map_batches(
        MapActor,
        fn_constructor_kwargs={
            "shipped": ship((make, config)),
            "stop_signal": stop_signal,
            "prepare_cpus": prepare_cpus,
        },
        batch_size=1,
        batch_format="pyarrow",
        compute=_pool(compute, count, most),
        num_cpus=needs.cpus,
        num_gpus=needs.gpus,
    )
    with stoppable(), watched_head(ray) as head:
        watch = _Watch(ray, head, stop_signal, bar, needs)
        with watch.in_thread():
            trouble = yield from _results(ray, dataset, watch)
        if trouble:
            # actors keep their CPUs until nothing holds the dataset, its iterator or its exception
            # (seen: the next training waits for ever)
            del dataset, source
            gc.collect()
            raise LabelerError(
                f"the labeler's actors cannot start, or keep dying:\n{_tail(trouble)}"
            )


def _pool(compute: Compute, groups: int, most: int) -> Any:
    from ray import data as ray_data

    size = max(compute.min, min(compute.max, groups, most))
    # where nodes come on demand, all actors are requested at once: Ray's pools grow one by one, and
    # a job may end before they have
    fewest = size if most == ANY else compute.min
    return ray_data.ActorPoolStrategy(
        min_size=fewest,
        max_size=size,
        max_tasks_in_flight_per_actor=2 * _CALLS_AT_ONCE,
        # both: otherwise calls are unpacked side by side, and worked on one by one
        max_concurrent_calls_per_actor=_CALLS_AT_ONCE,
        enable_true_multi_threading=True,
    )


def _results(ray: Any, dataset: Any, watch: _Watch) -> Generator[Plain, None, str]:
    """Yield results; return what Ray says where its actors fail, "" where all is done."""
    batches = dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    told = {""}  # of a process that stands in no other's place
    try:
        for batch in batches:
            watch.count(len(batch))
            for worker in set(batch["restarted"].to_pylist()) - told:
                tell("worker_restarted", worker=worker)
                told.add(worker)
            yield from map(json.loads, batch["result"].to_pylist())
    except GeneratorExit:
        # not simply let go: Ray's core aborts the process when a stream is dropped while it is
        # read (seen in 2.60)
        with contextlib.suppress(ray.exceptions.RayError):
            watch.stop_signal.set()
            for batch in batches:
                watch.count(len(batch))
            # no actor is left that looks
            watch.stop_signal.delete()
        raise
    except AbandonedError:
        return ""
    except ray.exceptions.RayError as error:
        return str(error)
    return ""


class _Watch:
    """Beside the driver's wait for results: tells the actors how many came and whether to stop, and
    the bar, once a minute, that none came."""

    def __init__(
        self,
        ray: Any,
        head: Head,
        stop_signal: StopSignal,
        bar: Bar,
        needs: Needs,
    ) -> None:
        self.stop_signal = stop_signal
        self.bar = bar
        self.lacks = partial(what_lacks, ray, needs)
        self.head = head
        self.lost_nodes = LostNodes(ray)
        self.draining_nodes = DrainingNodes(ray, stop_signal)
        self.workers = LivingWorkers(ray, MapActor.__name__, needs)
        self.results = 0
        self.counted = 0
        """Results that the actors know of."""
        self.newest = time.monotonic()

    def count(self, results: int) -> None:
        """So many more results came."""
        self.newest = time.monotonic()
        self.results += results

    def look(self) -> None:
        """Say what is to be said now. Raises RayError where the head node does not answer."""
        if not self.head.answers:
            return
        results = self.results
        if results != self.counted:
            self.stop_signal.count(results)
            self.counted = results
        if stop_requested():
            self.stop_signal.set()
        self.lost_nodes.look()
        self.draining_nodes.look()
        self.workers.look()
        if stop_requested() and not self.workers.count:
            abandon()
        if time.monotonic() - self.newest >= LINE_EVERY_SECONDS:
            # told at every look from then on: a bar prints no more than a line a minute
            missing = self.lacks()
            awaited = "labeler actors to start or to answer"
            if missing:
                awaited = f"nodes to come: it needs {missing}"
            self.bar.waits(awaited)

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[None]:
        """Look every `POLL_SECONDS` for as long as the block runs."""
        import ray

        over = threading.Event()

        def watch() -> None:
            while not over.wait(POLL_SECONDS):
                # the next look tries again
                with contextlib.suppress(ray.exceptions.RayError):
                    self.look()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
            # not after an error, when an actor may still look
            with contextlib.suppress(ray.exceptions.RayError):
                self.stop_signal.delete()
                # what was lost in the last seconds is lost too
                self.lost_nodes.look(at_once=True)
        finally:
            over.set()
            thread.join(_JOIN_SECONDS)
            self.workers.end()


def _tail(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else "…" + text[-_MOST_CHARACTERS:]
