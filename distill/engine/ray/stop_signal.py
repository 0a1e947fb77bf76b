"""Whether to begin another fragment: the driver says it, and whoever works asks.

One number stands in the small table that a Ray keeps in its head node, where Ray's own libraries
keep such words too: how many tasks are answered, or −1 once nothing more is to begin. (As an actor
it was a process more to start, 0.35 s of a core, and a hundredth of a core for as long as it
lived.)
"""

from __future__ import annotations

import uuid

_NAMESPACE = b"distill"
_PULLED = -1


class StopSignal:
    """One labelling's; it travels to the workers by its name."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex
        self._pulled = False

    def pull(self) -> None:
        """No other fragment is to begin. Raises RayError where the head node does not answer."""
        self._pulled = True
        self._say(_PULLED)

    def hear(self, answered: int) -> None:
        """So many tasks are answered. Raises RayError as above."""
        if not self._pulled:
            self._say(answered)

    def is_pulled(self) -> bool:
        """Whether it was. Raises RayError as above."""
        return self._said() == _PULLED

    def lets_out(self, answered: int) -> bool | None:
        """Whether to let out tasks that wait for so many answers; None: not yet. Raises RayError as
        above."""
        said = self._said()
        return said != _PULLED if said == _PULLED or answered <= said else None

    def forget(self) -> None:
        """Nobody asks any more. Raises RayError as above."""
        from ray.experimental import internal_kv

        internal_kv._internal_kv_del(self.name, namespace=_NAMESPACE)

    def _say(self, number: int) -> None:
        from ray.experimental import internal_kv

        internal_kv._internal_kv_put(self.name, str(number), namespace=_NAMESPACE)

    def _said(self) -> int:
        from ray.experimental import internal_kv

        return int(internal_kv._internal_kv_get(self.name, namespace=_NAMESPACE) or 0)
