"""What a job asks of a cluster, and what each file of `cluster/` offers.

What one worker needs is in the job, what exists in the cluster file. A file without an autoscaler offers
its nodes, one with an autoscaler its most; a file of parts offers one part's node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from distill.job.job import Job
from distill.spec.base import Gpus
from distill.spec.models import worker_range
from tests.cluster import files


@dataclass(frozen=True)
class Nodes:
    """So many nodes of one kind, as Ray counts what they have."""

    count: int
    cpus: float
    gpus: float = 0


@dataclass(frozen=True)
class Asked:
    """So many processes at the same time, each with so many CPUs and GPUs."""

    key: str
    processes: int
    cpus: float
    gpus: Gpus


def lacking(job: Job, nodes: list[Nodes]) -> list[str]:
    """Return a sentence for each thing that a job asks for and the nodes cannot give together."""
    has_gpus = any(each.gpus for each in nodes)
    sentences = []
    for asked in asked_by(job):
        gpus = float(has_gpus) if asked.gpus == "auto" else asked.gpus
        room = sum(each.count * _fitting(each, asked.cpus, gpus) for each in nodes)
        if room < asked.processes:
            what = f"{asked.processes} × {asked.cpus:g} CPU and {gpus:g} GPU"
            sentences.append(f"{asked.key} asks for {what}, and there is room for {room}")
    return sentences


def _fitting(node: Nodes, cpus: float, gpus: float) -> int:
    by_cpus = node.cpus // cpus
    return int(min(by_cpus, node.gpus // gpus) if gpus else by_cpus)


def asked_by(job: Job) -> Iterator[Asked]:
    """Yield what a job cannot run with less of."""
    for name, labels in job.labels.items():
        compute = labels.compute
        yield Asked(f"labels.{name}.compute", compute.min, compute.cpus, compute.gpus)
        if compute.prepare_on == "cluster":
            yield Asked(f"labels.{name}.compute.prepare_cpus", 1, compute.prepare_cpus, 0)
    trained = {
        **{f"fit.{name}": fit.training for name, fit in job.fit.items()},
        **{f"students.{name}": student.training for name, student in job.students.items()},
    }
    for key, training in trained.items():
        fewest, _ = worker_range(training.workers)
        # where a job chooses neither, Ray's engine takes one worker on the only GPU
        nobody_chose = training.workers is None and training.gpus == "auto"
        yield Asked(f"{key}.training", 1 if nobody_chose else fewest, 1, training.gpus)


def offered(name: str) -> list[Nodes]:
    """Return the nodes that a file of `cluster/` may bring together."""
    if name in files.LAUNCHER:
        return _launcher(files.document(name))
    if name in files.SLURM:
        return [_slurm(files.sbatch_options(name))]
    if name in files.SKYPILOT:
        return [_skypilot(files.document(name))]
    nodes = []
    for document in files.documents(name):
        nodes += _kubernetes(document)
    return nodes


def _launcher(config: dict[str, Any]) -> list[Nodes]:
    nodes = []
    for kind, node in config["available_node_types"].items():
        resources = node["resources"]
        count = 1 if kind == config["head_node_type"] else node["max_workers"]
        nodes.append(Nodes(count, resources["CPU"], resources.get("GPU", 0)))
    return nodes


def _kubernetes(document: dict[str, Any]) -> list[Nodes]:
    spec = document.get("spec", {})
    if document["kind"] == "Job":
        return [_pod(spec["template"], 1)]
    spec = spec.get("rayClusterSpec", spec)
    if "workerGroupSpecs" not in spec:
        return []
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    return [_pod(group["template"], group["maxReplicas"]) for group in spec["workerGroupSpecs"]]


def _pod(template: dict[str, Any], count: int) -> Nodes:
    (container,) = template["spec"]["containers"]
    limits = container["resources"]["limits"]
    return Nodes(count, float(limits["cpu"]), float(limits.get("nvidia.com/gpu", 0)))


def _skypilot(task: dict[str, Any]) -> Nodes:
    resources = task["resources"]
    count = task.get("num_nodes", 1)
    cpus = float(str(resources["cpus"]).rstrip("+"))
    return Nodes(count, cpus, sum(resources.get("accelerators", {}).values()))


def _slurm(options: dict[str, str]) -> Nodes:
    return Nodes(1, float(options["cpus-per-task"]), float(options["gpus-per-node"]))
