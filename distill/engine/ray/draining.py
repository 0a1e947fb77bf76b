"""Nodes that are about to be taken away, and what labelling actors make of the time that is left:
they commit the fragments in work, begin no other, and leave.

Ray places nothing on a draining node and gives its actors no other block, but an actor has some
groups of fragments already, and would work on them until the machine is gone: the fragment that is
then in work is lost. And Ray waits for an actor to end by itself. So the driver asks Ray every
`_LOOK_SECONDS` which nodes drain, and writes them beside the stop signal; a thread of each actor
looks there. An actor that leaves ends its process, and Ray starts it again on another node with the
groups that it did not finish.

That is no death of the labeler's doing: the actor notes that it leaves, so the process in its place
neither suspects the rows that were in work (`stages.label.deadly_rows`) nor is told of as restarted,
even where the machine went before the fragment was done. SIGTERM to the actor itself is a notice
too.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from distill.core.events import tell
from distill.engine.ray.kv_journal import KvJournal
from distill.engine.ray.stop_signal import NAMESPACE, StopSignal

_LOOK_SECONDS = 2.0
# a result is on its way when its actor's generator goes on; the process outlives that a little
_SENT_SECONDS = 1.0
_MARKET = "ray.io/market-type"


def _draining_key(stop_signal: StopSignal) -> str:
    # beneath the signal's own key, with which it is deleted
    return f"{stop_signal.key}/draining"


class DrainingNodes:
    """Looks every few seconds which nodes drain, tells of each once, and tells the actors of a map,
    if there is one."""

    def __init__(self, ray: Any, stop_signal: StopSignal | None = None) -> None:
        self.ray = ray
        self.stop_signal = stop_signal
        self.known: set[str] = set()
        self.looked = 0.0

    def look(self) -> None:
        """Tell of what drains since the last look. Raises RayError where the head node does not
        answer."""
        if time.monotonic() - self.looked < _LOOK_SECONDS:
            return
        self.looked = time.monotonic()
        deadlines = _deadlines()
        new = deadlines.keys() - self.known
        if not new:
            return
        if self.stop_signal is not None:
            _write(_draining_key(self.stop_signal), json.dumps(sorted(deadlines)))
        for node in self.ray.nodes():
            if node["NodeID"] in new:
                self._tell(node, deadlines[node["NodeID"]])
        # only now: where Ray did not answer, the next look tries again
        self.known |= new

    @staticmethod
    def _tell(node: dict[str, Any], deadline_milliseconds: int) -> None:
        # Ray says 0 where nobody knows
        left = deadline_milliseconds / 1000 - time.time() if deadline_milliseconds else 0.0
        market = node.get("Labels", {}).get(_MARKET, "")
        tell("node_drains", worker=node["NodeManagerHostname"], market=market, seconds=left)


class Leaving:
    """Of one actor of a map: whether it is to leave, and how it does."""

    def __init__(self, stop_signal: StopSignal, journal: KvJournal) -> None:
        import ray

        context = ray.get_runtime_context()
        self.journal = journal
        self.node_id = context.get_node_id()
        self.draining_key = _draining_key(stop_signal)
        self.left_key = f"{stop_signal.key}/left/{context.get_actor_id()}"
        self.noticed = threading.Event()
        self.tasks = threading.Condition()
        self.in_work = 0

    def take_left(self) -> bool:
        """Return whether the process before this one left of itself, and forget it."""
        left = _read(self.left_key) is not None
        if left:
            _delete(self.left_key)
        return left

    def begin(self) -> None:
        """Look for a notice from now on, and take SIGTERM for one."""
        threading.Thread(target=self._watch, daemon=True).start()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda _number, _frame: self.noticed.set())

    @contextlib.contextmanager
    def task(self) -> Iterator[None]:
        """Do a task within; once there is a notice none begins, and the process ends."""
        with self.tasks:
            # the process ends while this waits
            self.tasks.wait_for(lambda: not self.noticed.is_set())
            self.in_work += 1
        try:
            yield
        finally:
            with self.tasks:
                self.in_work -= 1
                self.tasks.notify_all()

    def _watch(self) -> None:
        import ray

        while not self.noticed.wait(_LOOK_SECONDS):
            # where the head node does not answer, the next look tries again
            with contextlib.suppress(ray.exceptions.RayError):
                draining = _read(self.draining_key)
                if draining and self.node_id in json.loads(draining):
                    self.noticed.set()
        # at once, since the machine may be gone before the fragment is done
        with contextlib.suppress(ray.exceptions.RayError):
            _write(self.left_key, "1")
            self.journal.close()
        with self.tasks:
            self.tasks.wait_for(lambda: self.in_work == 0)
        time.sleep(_SENT_SECONDS)
        # neither an exception nor `exit_actor`, after which Ray would not start it again
        os._exit(0)


def _deadlines() -> dict[str, int]:
    """Return the nodes that drain, and when each is gone, in milliseconds since 1970."""
    from ray._private.state import state

    return dict(state.get_draining_nodes())


def _read(key: str) -> bytes | None:
    from ray.experimental import internal_kv

    return internal_kv._internal_kv_get(key, namespace=NAMESPACE)


def _write(key: str, value: str) -> None:
    from ray.experimental import internal_kv

    internal_kv._internal_kv_put(key, value, namespace=NAMESPACE)


def _delete(key: str) -> None:
    from ray.experimental import internal_kv

    internal_kv._internal_kv_del(key, namespace=NAMESPACE)
