"""What the cluster has, what it could have, and what it can never give.

On a cluster that nothing makes larger, what is there now is the maximum. One with an autoscaler may
tell its configured maxima; where it does not, any number may come, and what does not come is
reported each minute.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from distill.core.errors import ResourceError
from distill.spec.base import Gpus

_LOOK_SECONDS = 2.0
_RELEASE_SECONDS = 3.0
_POLL_SECONDS = 0.1
ANY = sys.maxsize
"""Of processes: as many as are wanted may come."""


@dataclass(frozen=True)
class Needs:
    """So many processes, each with so many CPUs and GPUs."""

    processes: int
    cpus: float
    gpus: float

    @property
    def each(self) -> dict[str, float]:
        """What one process takes, by Ray's names; what it takes nothing of is 0."""
        return {"CPU": self.cpus, "GPU": self.gpus}


def gpus_each(ray: Any, gpus: Gpus) -> float:
    """Return the GPUs of one process: "auto" is one where the cluster has any, or tells that it can
    get any; else none."""
    if gpus != "auto":
        return float(gpus)
    has_any = _configured("GPU") or _present(ray, "GPU")
    return 1.0 if has_any else 0.0


def most_gpus(ray: Any) -> float:
    """Return the GPUs that the cluster has or may get: infinitely many where nodes come on
    demand."""
    return _most(ray, "GPU")


def require_resources(ray: Any, what: str, needs: Needs, *, reserved_cpus: float = 0.0) -> int:
    """Return the most processes that fit, `ANY` where nodes come on demand. Raises ResourceError,
    with names and numbers, for what the cluster can never give.

    `reserved_cpus` are left to the tasks that the processes wait for: if they took all CPUs, they
    would wait for ever.
    """
    for name, each in needs.each.items():
        most = _most(ray, name)
        largest = _largest_node(ray, name)
        if each > largest and most == _present(ray, name):
            raise ResourceError(
                f"{what} needs {each:g} {name} on one node, but the largest node has {largest:g}."
                " Ask for less in the job."
            )
        reserved = reserved_cpus if name == "CPU" else 0.0
        if each * needs.processes + reserved > most:
            beside = f" and {reserved:g} for preparing (compute.prepare_cpus)" if reserved else ""
            raise ResourceError(
                f"{what} needs {needs.processes} × {each:g} {name}{beside}, but the cluster has"
                f" {most:g} and cannot grow beyond. Ask for less in the job, or join a larger"
                " cluster with --ray."
            )
    fitting = (_most(ray, "CPU") - reserved_cpus) / needs.cpus
    return int(min(fitting, ANY))


def room_now(ray: Any, needs: Needs) -> int:
    """Return how many of the processes fit on the nodes beside what runs there. What just ended is
    given `_RELEASE_SECONDS` to release its resources."""
    until = time.monotonic() + _RELEASE_SECONDS
    while True:
        whole_nodes = [node["Resources"] for node in living_nodes(ray)]
        if_all_were_free = _fitting(whole_nodes, needs)
        free = _free_of_nodes()
        room = _fitting(free, needs)
        if room >= if_all_were_free or time.monotonic() >= until:
            return room
        time.sleep(_POLL_SECONDS)


def room_in_all(ray: Any, needs: Needs) -> int:
    """Return how many of such processes the cluster's nodes have room for, if all were free."""
    shares = [_present(ray, name) / each for name, each in needs.each.items() if each]
    return int(min(shares))


def what_lacks(ray: Any, needs: Needs) -> str | None:
    """Return in words what the processes need and the cluster does not have now, since nodes were
    lost or have not come yet; None where it has all."""
    lacking = []
    for name, each in needs.each.items():
        present = _present(ray, name)
        if each * needs.processes > present:
            lacking.append(f"{needs.processes} × {each:g} {name} (the cluster has {present:g})")
    return " and ".join(lacking) or None


def device_of_worker(ray: Any) -> str:
    """Return "cuda" where this process was given a GPU, else "cpu"."""
    return "cuda" if ray.get_gpu_ids() else "cpu"


def look_at_nodes(ray: Any) -> None:
    """Have Ray Train's room for workers counted now: its coordinator of resources looks every 20 s
    by itself, and counts on a lost node so long."""
    # ValueError: there is no such actor. Then, as without an answer, it takes those seconds
    with contextlib.suppress(ValueError, ray.exceptions.RayError):
        coordinator = ray.get_actor("AutoscalingCoordinator", namespace="AutoscalingCoordinator")
        counted = coordinator.get_reserved_resources.remote("distill", True)
        ray.get(counted, timeout=_LOOK_SECONDS)


def _fitting(nodes: Iterable[Mapping[str, float]], needs: Needs) -> int:
    """Return how many of the processes fit on the nodes."""
    total = 0
    for node in nodes:
        fits = [node.get(name, 0.0) // each for name, each in needs.each.items() if each]
        total += int(min(fits))
    return min(needs.processes, total)


def _free_of_nodes() -> Iterable[Mapping[str, float]]:
    from ray._private.state import available_resources_per_node

    return available_resources_per_node().values()


def living_nodes(ray: Any) -> list[Any]:
    """Return the nodes that are there."""
    return [node for node in ray.nodes() if node["Alive"]]


def _largest_node(ray: Any, name: str) -> float:
    sizes = (float(node["Resources"].get(name, 0)) for node in living_nodes(ray))
    return max(sizes, default=0.0)


def _present(ray: Any, name: str) -> float:
    present = ray.cluster_resources()
    return float(present.get(name, 0))


def _most(ray: Any, name: str) -> float:
    configured = _configured(name)
    if configured:
        return configured
    return math.inf if autoscales(ray) else _present(ray, name)


def _configured(name: str) -> float:
    """Return what an autoscaler tells as its maximum; 0 where none tells."""
    from ray._private.state import state

    # None on a static cluster, and with Ray 2.60's own autoscaler too
    maxima = state.get_max_resources_from_cluster_config() or {}
    return float(maxima.get(name, 0))


def autoscales(ray: Any) -> bool:
    """Return whether an autoscaler may bring nodes."""
    # an autoscaler's types are named by its configuration, all others after the node's id
    return any(kind and not kind.startswith("node_") for kind in _node_types(ray))


def _node_types(ray: Any) -> list[str]:
    from ray.autoscaler.v2.sdk import get_cluster_status
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.experimental.internal_kv import _internal_kv_get

    if is_autoscaler_v2():
        address = ray.get_runtime_context().gcs_address
        status = get_cluster_status(address)
        return [node.ray_node_type_name for node in (*status.active_nodes, *status.idle_nodes)]
    status = json.loads(_internal_kv_get("__autoscaling_status") or "{}")
    report = status.get("autoscaler_report") or {}
    node_types = report.get("node_type_mapping") or {}
    return list(node_types.values())
