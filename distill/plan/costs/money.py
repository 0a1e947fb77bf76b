"""Dollars of workers' hours, by the prices that a job gives; without prices there are none."""

from __future__ import annotations

from dataclasses import dataclass

from distill.core.account import HOUR
from distill.spec.base import Gpus
from distill.spec.prices import InstancePrice, Prices

__all__ = ["HOUR", "WorkerKind", "counted_dollars", "gpus_held", "worker_dollars"]


@dataclass(frozen=True)
class WorkerKind:
    """What one worker holds of a machine."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: float = 0.0  # 0 where nobody knows


def gpus_held(gpus: Gpus, device: str) -> float:
    """Return the GPUs of a worker that was asked for as `gpus` and works on `device`."""
    if device == "cpu":
        return 0.0
    return 1.0 if gpus == "auto" else float(gpus)


def worker_dollars(price: InstancePrice, kind: WorkerKind) -> float | None:
    """Return what an hour of one worker costs on machines that are full of such workers; None where
    one has no room."""
    workers = price.workers(kind.cpus, kind.gpus, kind.memory_bytes)
    return price.dollars / workers if workers else None


def counted_dollars(prices: Prices | None, kind: WorkerKind) -> float | None:
    """Return at how much an hour of one worker is counted: at the dearest machine in use that has
    room for it; None where no price fits."""
    if prices is None:
        return None
    used = [each for each in prices.instances if each.used]
    found = [worker_dollars(each, kind) for each in used or prices.instances]
    fitting = [dollars for dollars in found if dollars is not None]
    return max(fitting, default=None)
