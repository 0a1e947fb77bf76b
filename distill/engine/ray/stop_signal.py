"""Whether workers are to begin another fragment: the driver sets it, and workers look.

It is one number in `internal_kv`, the key-value table that Ray keeps in its head node and that
Ray's own libraries use so: how many tasks have results, or −1 once no other task is to begin.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid

NAMESPACE = b"distill"
POLL_SECONDS = 0.2
"""As often as a process looks at the stop signal."""
_STOPPED = -1


# no actor, which was one more process to start (0.35 s of a core), and took a hundredth of a core
# for as long as it lived
class StopSignal:
    """Of one labelling; it travels to the workers by its key. All methods but `__init__` raise
    RayError where the head node does not answer."""

    def __init__(self) -> None:
        self.key = uuid.uuid4().hex
        self._stopped = False

    def set(self) -> None:
        """No other task is to begin, whatever is counted afterwards."""
        self._stopped = True
        self._write(_STOPPED)

    def count(self, results: int) -> None:
        """So many tasks have results."""
        if not self._stopped:
            self._write(results)

    def is_set(self) -> bool:
        """Return whether no other task is to begin."""
        return self._read() == _STOPPED

    def allows(self, results: int) -> bool | None:
        """Return whether tasks that wait for so many results may begin; None: not yet."""
        number = self._read()
        if number == _STOPPED:
            return False
        return True if number >= results else None

    def delete(self) -> None:
        """Nobody looks any more."""
        from ray.experimental import internal_kv

        # by prefix, with the journal of the actors
        internal_kv._internal_kv_del(self.key, del_by_prefix=True, namespace=NAMESPACE)

    def _write(self, number: int) -> None:
        from ray.experimental import internal_kv

        text = str(number)
        internal_kv._internal_kv_put(self.key, text, namespace=NAMESPACE)

    def _read(self) -> int:
        from ray.experimental import internal_kv

        return int(internal_kv._internal_kv_get(self.key, namespace=NAMESPACE) or 0)


class StopLooks:
    """An actor's looks at the signal, for all of its threads: one each `POLL_SECONDS`."""

    def __init__(self, signal: StopSignal) -> None:
        self.signal = signal
        self.stopped = False
        self._looked = -POLL_SECONDS
        self._looking = threading.Lock()

    def look(self) -> bool:
        """Return whether no other task is to begin."""
        import ray

        # a thread that comes while another looks waits for its answer: it began tasks meanwhile
        with self._looking:
            now = time.monotonic()
            if not self.stopped and now - self._looked >= POLL_SECONDS:
                self._looked = now
                # where the head node does not answer, a later task looks again
                with contextlib.suppress(ray.exceptions.RayError):
                    self.stopped = self.signal.is_set()
            return self.stopped
