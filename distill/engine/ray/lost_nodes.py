"""Nodes that are gone and that nobody sent away: taken by a cloud that sells them cheaply, or
dead."""

from __future__ import annotations

import logging
import time
from typing import Any

from distill.core.events import tell

log = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0
_MOST_NAMED = 3
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

    def look(self, *, at_once: bool = False) -> None:
        """Tell of what is lost since the last look, if that is some seconds ago, or `at_once`.
        Raises RayError where the head node does not answer."""
        if time.monotonic() - self.looked < _LOOK_SECONDS and not at_once:
            return
        self.looked = time.monotonic()
        lost = []
        for node in self.ray.nodes():
            if not node["Alive"] and node["NodeID"] not in self.known:
                self.known.add(node["NodeID"])
                lost += self._tell(node)
        if lost:
            named = ", ".join(lost[:_MOST_NAMED])
            more = ", …" if len(lost) > _MOST_NAMED else ""
            log.info("lost %d of the nodes: %s%s", len(lost), named, more)

    @staticmethod
    def _tell(node: dict[str, Any]) -> list[str]:
        """Tell of a node that is lost; return its name and how, if it is not one sent away."""
        why = _WHY.get(int(node.get("DeathReason", 0)))
        if why is None:
            return []
        host = node["NodeManagerHostname"]
        market = node.get("Labels", {}).get(_MARKET, "")
        tell("node_lost", worker=host, market=market, why=why)
        how = ", ".join(filter(None, [why, market]))
        return [f"{host} ({how})"]
