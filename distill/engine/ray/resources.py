"""What the cluster has, what it could have, and what can never be given.

On a cluster that nothing makes larger, what is there now is the maximum. One with an autoscaler may
tell its configured maxima; Ray 2.60's own autoscaler does not
(`get_max_resources_from_cluster_config()` is None with it too), so there any number may come, and
what does not come is said each minute. Which of the two a cluster is, the types of its nodes tell:
an autoscaler's are named by its configuration, all others after the node's id.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from distill.core.errors import ResourceError
from distill.spec.base import Gpus

_LOOK_SECONDS = 2.0
_RELEASE_SECONDS = 3.0
ANY = sys.maxsize
"""Of processes: as many as are asked for may come."""


def gpus_each(ray: Any, asked: Gpus) -> float:
    """GPUs for one process: "auto" is one where the cluster has any, or tells that it can get any;
    else none."""
    if asked == "auto":
        known = _configured("GPU") or ray.cluster_resources().get("GPU", 0)
        return 1.0 if known else 0.0
    return float(asked)


def require_resources(
    ray: Any, what: str, *, processes: int, cpus: float, gpus: float, kept_free: float = 0.0
) -> int:
    """Refuse, by name and number, what the cluster can never give; else the most processes that fit
    (`ANY` where nodes come on demand). Raises ResourceError.

    `kept_free` CPUs are left to the tasks that the processes wait for: where they took all, they
    would wait for ever.
    """
    for name, each in (("CPU", cpus), ("GPU", gpus)):
        most = _most(ray, name)
        largest = max(
            (float(node["Resources"].get(name, 0)) for node in ray.nodes() if node["Alive"]),
            default=0.0,
        )
        if each > largest and most == ray.cluster_resources().get(name, 0):
            raise ResourceError(
                f"{what} needs {each:g} {name} on one node, but the largest node has {largest:g}."
                " Ask for less in the job."
            )
        more = kept_free if name == "CPU" else 0.0
        if each * processes + more > most:
            said = f" and {more:g} for preparing (compute.prepare_cpus)" if more else ""
            raise ResourceError(
                f"{what} needs {processes} × {each:g} {name}{said}, but the cluster has {most:g}"
                " and cannot grow beyond. Ask for less in the job, or join a larger cluster with"
                " --ray."
            )
    return int(min((_most(ray, "CPU") - kept_free) / cpus, ANY))


def room_now(ray: Any, *, most: int, cpus: float, gpus: float) -> int:
    """Processes that fit on the nodes beside what runs there, at most `most`. What just ended is
    given `_RELEASE_SECONDS` to let go of its own."""
    until = time.monotonic() + _RELEASE_SECONDS
    while True:
        all_nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        room = min(most, _fitting(_free_of_nodes(), cpus, gpus))
        if room >= min(most, _fitting(all_nodes, cpus, gpus)) or time.monotonic() >= until:
            return room
        time.sleep(0.1)


def what_lacks(ray: Any, *, processes: int, cpus: float, gpus: float) -> str | None:
    """What so many processes need and the cluster does not have now, in words: nodes were lost, or
    have not come yet."""
    have = ray.cluster_resources()
    short = [
        f"{processes} × {each:g} {name} (the cluster has {have.get(name, 0):g})"
        for name, each in (("CPU", cpus), ("GPU", gpus))
        if each * processes > have.get(name, 0)
    ]
    return " and ".join(short) or None


def device_of_worker(ray: Any) -> str:
    """ "cuda" where this process was given a GPU, else "cpu"."""
    return "cuda" if ray.get_gpu_ids() else "cpu"


def look_at_nodes(ray: Any) -> None:
    """Have Ray Train's room for workers counted now: its coordinator of resources looks every 20 s
    by itself, and counts on a lost node so long."""
    with contextlib.suppress(
        ValueError, ray.exceptions.RayError
    ):  # no such actor, or no answer: then it takes those seconds
        coordinator = ray.get_actor("AutoscalingCoordinator", namespace="AutoscalingCoordinator")
        ray.get(coordinator.get_reserved_resources.remote("distill", True), timeout=_LOOK_SECONDS)


def _fitting(nodes: Iterable[Mapping[str, float]], cpus: float, gpus: float) -> int:
    needs = {name: each for name, each in (("CPU", cpus), ("GPU", gpus)) if each}
    return sum(
        int(min(node.get(name, 0.0) // each for name, each in needs.items())) for node in nodes
    )


def _free_of_nodes() -> Iterable[Mapping[str, float]]:
    from ray._private.state import available_resources_per_node

    return available_resources_per_node().values()


def _most(ray: Any, name: str) -> float:
    return _configured(name) or (
        math.inf if _autoscales(ray) else float(ray.cluster_resources().get(name, 0))
    )


def _configured(name: str) -> float:
    """What an autoscaler tells as its maximum; 0 where none tells."""
    from ray._private.state import state

    return float((state.get_max_resources_from_cluster_config() or {}).get(name, 0))


def _autoscales(ray: Any) -> bool:
    """Whether an autoscaler may bring nodes."""
    return any(kind and not kind.startswith("node_") for kind in _node_types(ray))


def _node_types(ray: Any) -> list[str]:
    from ray.autoscaler.v2.sdk import get_cluster_status
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.experimental.internal_kv import _internal_kv_get

    if is_autoscaler_v2():
        status = get_cluster_status(ray.get_runtime_context().gcs_address)
        return [node.ray_node_type_name for node in (*status.active_nodes, *status.idle_nodes)]
    said = (
        json.loads(_internal_kv_get("__autoscaling_status") or "{}").get("autoscaler_report") or {}
    )
    return list((said.get("node_type_mapping") or {}).values())
