"""The class that Ray Data runs as an actor: it adapts a labelling worker, which knows nothing of
Ray, to batches of packed groups."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from distill.core.errors import LabelerError
from distill.core.events import this_worker
from distill.engine.freed_memory import keep_freed_memory
from distill.engine.journal import journaling
from distill.engine.protocol import Plain, Stream, stream_here
from distill.engine.ray.draining import Leaving
from distill.engine.ray.kv_journal import KvJournal
from distill.engine.ray.process_hygiene import end_with_parent, let_forks_be_ended
from distill.engine.ray.resources import device_of_worker
from distill.engine.ray.shipping import unpack
from distill.engine.ray.stop_signal import StopLooks, StopSignal
from distill.engine.ray.stream import RemoteStream

# more than are handed to an actor at once: all that may have been in work when one died
_CAREFUL_TASKS = 16
_BUILD = "build"
_MOST_BUILDS = 3


class MapActor:
    """One worker of a map: built once an actor, called once a group."""

    def __init__(self, shipped: Any, stop_signal: StopSignal, prepare_cpus: float) -> None:
        """`shipped` is (make, config); `prepare_cpus` is 0 where rows are prepared in the actor."""
        import ray

        self.journal = KvJournal(stop_signal)
        self.careful_tasks = 0
        """Tasks that are given out again, since one of them may be why the process before died."""
        self.one_at_a_time = threading.Lock()
        self.restarted = ""
        """Who this is, where it stands in a dead process's place."""
        self.leaving = Leaving(stop_signal, self.journal)
        reconstructed = ray.get_runtime_context().was_current_actor_reconstructed
        if reconstructed and not self.leaving.take_left():
            self.careful_tasks = _CAREFUL_TASKS
            self.restarted = this_worker()
        let_forks_be_ended()
        end_with_parent()
        # before it is built: nothing is in work then, and it leaves at once
        self.leaving.begin()
        make, config = unpack(shipped)
        stream: Stream = RemoteStream(prepare_cpus) if prepare_cpus else stream_here
        with self._built_alive():
            device = device_of_worker(ray)
            self.work = make(config, device, stream)
        keep_freed_memory(device)
        self.stop_looks = StopLooks(stop_signal)

    def __call__(self, batch: Any) -> Iterator[Any]:
        """Yield the results of a group's tasks, one by one, until the stop signal is set."""
        import pyarrow as pa

        group = json.loads(batch["group"][0].as_py())
        for task in group:
            if self.stop_looks.look():
                continue
            # around the result too: it is sent before the process may end
            with self.leaving.task():
                result = json.dumps(self._do(task))
                # with each: of a call that is made again Ray drops what the dead process had sent
                yield pa.table({"result": [result], "restarted": [self.restarted]})

    def _do(self, task: Plain) -> Plain:
        """Do a task; with a journal, and nothing beside it, where that has to be found out."""
        # a plain task waits for the last careful one: its death would be taken for that one's
        with self.one_at_a_time:
            if self.careful_tasks:
                self.careful_tasks -= 1
                with journaling(self.journal):
                    return self.work(task)
        return self.work(task)

    @contextlib.contextmanager
    def _built_alive(self) -> Iterator[None]:
        """Note that the worker is built. Raises LabelerError where processes died of it."""
        if not self.careful_tasks:
            yield
            return
        entry = self.journal.read(_BUILD) or {"deaths": 0}
        if entry["deaths"] >= _MOST_BUILDS:
            raise LabelerError(
                f"its process died {entry['deaths']} times while the labeler was made (out of"
                " memory, or an exit in its code?). Try it with --local"
            )
        self.journal.write(_BUILD, {"deaths": entry["deaths"] + 1})
        yield
        self.journal.delete(_BUILD)
