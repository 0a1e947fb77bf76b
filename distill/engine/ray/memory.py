"""How much memory a process may have at most, of a node or of its GPU, as far as the cluster tells.

Nodes that are there tell theirs, and an autoscaler may tell the types of those that it can bring.
Ray does not say how much memory a GPU has, but of which type it is; a type that comes in several
sizes counts as the largest. What nobody tells is unknown: nothing is refused for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from distill.engine.ray.resources import autoscales, living_nodes

Resources = Mapping[str, float]
"""Of a node, by Ray's names."""

# a node may have had half of its memory in use when Ray looked
_FREE_SHARE = 2.0
_TYPE = "accelerator_type:"
_GPU_GIB = {
    "A10G": 24,
    "A100": 80,
    "B200": 192,
    "H100": 94,
    "H200": 141,
    "K80": 12,
    "L4": 24,
    "L40S": 48,
    "P100": 16,
    "P4": 8,
    "T4": 16,
    "V100": 32,
}
"""By Ray's name of the type."""


def largest_memory(ray: Any) -> float:
    """Return the bytes that a process may have at most; infinitely many where that is unknown."""
    # Ray counts what was free when a node began, beside its object store
    sizes = [_FREE_SHARE * node.get("memory", math.inf) for node in _nodes(ray)]
    return max(sizes, default=math.inf)


def largest_gpu_memory(ray: Any) -> float:
    """Return the bytes that a GPU may have at most; infinitely many where that is unknown."""
    sizes = []
    for node in _nodes(ray):
        types = [name.removeprefix(_TYPE) for name in node if name.startswith(_TYPE)]
        if types or node.get("GPU", not node):
            sizes += [_GPU_GIB.get(name, math.inf) for name in types or [""]]
    return max(sizes, default=math.inf) * 2**30


def _nodes(ray: Any) -> list[Resources]:
    """What the nodes have that are there, and those that may come: nothing is known of one that has
    nothing."""
    there = [node["Resources"] for node in living_nodes(ray)]
    if not autoscales(ray):
        return there
    return [*there, *(_node_types() or [{}])]


def _node_types() -> list[Resources]:
    """What the types of nodes have that an autoscaler tells; none where it does not."""
    from ray._private.state import state

    config = state.get_cluster_config()
    groups = config.node_group_configs if config else ()
    return [dict(group.resources) for group in groups if group.max_count]
