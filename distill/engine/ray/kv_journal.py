"""The journal of a map's actors, in Ray's `internal_kv` as the stop signal is."""

from __future__ import annotations

import json

from distill.engine.protocol import Plain
from distill.engine.ray.stop_signal import NAMESPACE, StopSignal


class KvJournal:
    """A `Journal` whose entries go when the map's stop signal does."""

    def __init__(self, stop_signal: StopSignal) -> None:
        self.prefix = f"{stop_signal.key}/"
        self.open: set[str] = set()
        """Tasks with an entry of this process's."""
        self.closed = False

    def read(self, task: str) -> Plain | None:
        """See `Journal.read`."""
        from ray.experimental import internal_kv

        entry = internal_kv._internal_kv_get(self.prefix + task, namespace=NAMESPACE)
        return None if entry is None else dict(json.loads(entry))

    def write(self, task: str, entry: Plain) -> None:
        """See `Journal.write`."""
        from ray.experimental import internal_kv

        if self.closed:
            return
        self.open.add(task)
        text = json.dumps(entry)
        internal_kv._internal_kv_put(self.prefix + task, text, namespace=NAMESPACE)

    def delete(self, task: str) -> None:
        """See `Journal.delete`."""
        from ray.experimental import internal_kv

        self.open.discard(task)
        internal_kv._internal_kv_del(self.prefix + task, namespace=NAMESPACE)

    def close(self) -> None:
        """Forget the tasks of this process, and write no more: if it ends now, that is not their
        doing."""
        self.closed = True
        for task in list(self.open):
            self.delete(task)
