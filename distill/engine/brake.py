"""Whether to begin another fragment: the driver says it, and whoever works asks.

It stands in the small table that a Ray keeps in its head node, where Ray's own libraries keep such words too. (As an actor it was a
process more to start, 0.35 s of a core, and a hundredth of a core for as long as it lived.)
"""

from __future__ import annotations

import uuid

_NAMESPACE = b"distill"


class Brake:
    """One labelling's; it travels to the workers by its name."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex

    def pull(self) -> None:
        """No other fragment is to begin."""
        self._put("pulled", 1)

    def hear(self, answered: int) -> None:
        """So many tasks are answered."""
        self._put("answered", answered)

    def is_pulled(self) -> bool:
        """Whether it was. Raises RayError where the head node does not answer."""
        return bool(self._get("pulled"))

    def lets_out(self, answered: int) -> bool | None:
        """Whether to let out tasks that wait for so many answers; None: not yet. Raises RayError as above."""
        pulled = self.is_pulled()
        return not pulled if pulled or answered <= self._get("answered") else None

    def forget(self) -> None:
        """Nobody asks any more."""
        from ray.experimental import internal_kv

        internal_kv._internal_kv_del(self.name, del_by_prefix=True, namespace=_NAMESPACE)

    def _put(self, what: str, number: int) -> None:
        from ray.experimental import internal_kv

        internal_kv._internal_kv_put(f"{self.name}.{what}", str(number), namespace=_NAMESPACE)

    def _get(self, what: str) -> int:
        from ray.experimental import internal_kv

        return int(internal_kv._internal_kv_get(f"{self.name}.{what}", namespace=_NAMESPACE) or 0)
