"""The Rays of the benchmarks: each measurement starts one of its own, which nothing else disturbs.

Tests of the quick modes measure nothing. They set `SHARED`, and then all join one Ray, and the
processes of `child` are forked from one that has torch imported.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

SHARED = "DISTILL_BENCH_RAY"
"""Names the Ray that is there: `address`, `settings` (environment) and `session`, as JSON."""


def shared() -> dict[str, Any]:
    """Return what `SHARED` says; nothing where each starts its own."""
    return json.loads(os.environ.get(SHARED, "{}"))


def settings() -> dict[str, str]:
    """The environment of a process that may join the shared Ray."""
    return shared().get("settings", {})


def start_ray() -> None:
    """A Ray as the command `distill` starts it, in this process."""
    from distill.engine.ray.session import connect

    connect(shared().get("address"))


def start_bare_ray(cpus: int, **more: str) -> None:
    """`ray.init()` on loopback, in this process; `more` is set in the environment of its workers
    too. It has more CPUs on paper than there are, since a pool of actors that takes them all leaves
    none to its readers, and hangs."""
    os.environ |= more
    if shared():
        import ray

        ray.init(address=shared()["address"], runtime_env={"env_vars": more})
        return
    os.environ |= {
        "RAY_AUTH_MODE": "disabled",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
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
