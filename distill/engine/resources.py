"""What the cluster has, what it could have, and what can never be given.

On a cluster with an autoscaler the configured maxima count; without one (`get_max_resources_from_cluster_config()` is None), what is
there now is the maximum.
"""

from __future__ import annotations

from typing import Any

from distill.errors import ResourceError
from distill.job.base import Gpus


def gpus_each(ray: Any, asked: Gpus) -> float:
    """GPUs for one process: "auto" is one where the cluster has or can get any, else none."""
    if asked == "auto":
        return 1.0 if _most(ray, "GPU") else 0.0
    return float(asked)


def require_resources(ray: Any, what: str, *, processes: int, cpus: float, gpus: float, kept_free: float = 0.0) -> int:
    """Refuse, by name and number, what the cluster can never give; else the most processes that fit. Raises ResourceError.

    `kept_free` CPUs are left to the tasks that the processes wait for: where they took all, they would wait for ever.
    """
    for name, each in (("CPU", cpus), ("GPU", gpus)):
        most = _most(ray, name)
        largest = max((float(node["Resources"].get(name, 0)) for node in ray.nodes() if node["Alive"]), default=0.0)
        if each > largest and most == ray.cluster_resources().get(name, 0):
            raise ResourceError(
                f"{what} needs {each:g} {name} on one node, but the largest node has {largest:g}. Ask for less in the job."
            )
        more = kept_free if name == "CPU" else 0.0
        if each * processes + more > most:
            said = f" and {more:g} for preparing (compute.prepare_cpus)" if more else ""
            raise ResourceError(
                f"{what} needs {processes} × {each:g} {name}{said}, but the cluster has {most:g} and cannot grow beyond. "
                f"Ask for less in the job, or join a larger cluster with --ray."
            )
    return int((_most(ray, "CPU") - kept_free) / cpus)


def what_lacks(ray: Any, *, processes: int, cpus: float, gpus: float) -> str | None:
    """What so many processes need and the cluster does not have now, in words: nodes were lost, or have not come yet."""
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


def _most(ray: Any, name: str) -> float:
    from ray._private.state import state

    configured = state.get_max_resources_from_cluster_config()
    return float((configured or {}).get(name, 0) or ray.cluster_resources().get(name, 0))
