"""The class that Ray Data runs as an actor: it adapts a labelling worker, which knows nothing of
Ray, to batches of packed groups."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

from distill.engine.protocol import Stream, stream_here
from distill.engine.ray.hand_out import POLL_SECONDS
from distill.engine.ray.resources import device_of_worker
from distill.engine.ray.shipping import unpack
from distill.engine.ray.stop_signal import StopSignal
from distill.engine.ray.stream import RemoteStream


class MapActor:
    """One worker of a map: built once an actor, called once a group."""

    def __init__(self, shipped: Any, stop_signal: StopSignal, prepare_cpus: float) -> None:
        """`shipped` is (make, config); `prepare_cpus` is 0 where rows are prepared in the actor."""
        import ray

        make, config = unpack(shipped)
        stream: Stream = RemoteStream(prepare_cpus) if prepare_cpus else stream_here
        self.work = make(config, device_of_worker(ray), stream)
        self.stop_signal = stop_signal
        self.stopped = False
        self.looked = -POLL_SECONDS

    def __call__(self, batch: Any) -> Iterator[Any]:
        """Yield the results of a group's tasks, one by one, until the stop signal is set."""
        import pyarrow as pa

        group = json.loads(batch["group"][0].as_py())
        for task in group:
            if not self._stops():
                result = self.work(task)
                yield pa.table({"result": [json.dumps(result)]})

    def _stops(self) -> bool:
        import ray

        now = time.monotonic()
        if not self.stopped and now - self.looked >= POLL_SECONDS:
            self.looked = now
            # where the head node does not answer, the next task looks again
            with contextlib.suppress(ray.exceptions.RayError):
                self.stopped = self.stop_signal.is_set()
        return self.stopped
