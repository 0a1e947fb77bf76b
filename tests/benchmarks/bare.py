"""A Ray for bare Ray Data: with more CPUs on paper than there are, since a pool of actors that
takes them all leaves none to its readers, and hangs."""

from __future__ import annotations

import os
from pathlib import Path


def start_bare_ray(cpus: int, **more: str) -> None:
    """`ray.init()` on loopback, in this process; `more` is set in the environment of its workers
    too."""
    os.environ |= {
        "RAY_AUTH_MODE": "disabled",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        **more,
    }
    import ray

    ray.init(
        address="local",
        num_cpus=cpus + 2,
        include_dashboard=False,
        object_store_memory=1_000_000_000,
    )


def counts_folder(folder: str) -> Path:
    """Where the readers count what they read."""
    made = Path(folder, "counts")
    made.mkdir(exist_ok=True)
    return made
