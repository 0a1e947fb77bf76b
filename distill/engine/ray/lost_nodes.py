"""Nodes that are gone and that nobody sent away: taken by a cloud that sells them cheaply, or
dead."""

from __future__ import annotations

import time
from typing import Any

from distill.core.events import tell

_LOOK_SECONDS = 5.0
_MARKET = "ray.io/market-type"
_WHY = {2: "died", 3: "preempted"}
"""Ray's `NodeDeathInfo.Reason`; the others are nodes that were ended on purpose, as idle ones."""


class LostNodes:
    """Looks at the nodes of a Ray every few seconds and tells of each that is lost, once."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        self.known: set[str] = {node["NodeID"] for node in ray.nodes() if not node["Alive"]}
        """Those that were gone before, and those that were told of."""
        self.looked = time.monotonic()

    def look(self) -> None:
        """Tell of what is lost since the last look. Raises RayError where the head node does not
        answer."""
        if time.monotonic() - self.looked < _LOOK_SECONDS:
            return
        self.looked = time.monotonic()
        for node in self.ray.nodes():
            if not node["Alive"] and node["NodeID"] not in self.known:
                self.known.add(node["NodeID"])
                self._tell(node)

    @staticmethod
    def _tell(node: dict[str, Any]) -> None:
        why = _WHY.get(int(node.get("DeathReason", 0)))
        if why is not None:
            market = node.get("Labels", {}).get(_MARKET, "")
            tell("node_lost", worker=node["NodeManagerHostname"], market=market, why=why)
