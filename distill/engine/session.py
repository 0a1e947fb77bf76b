"""Where Ray comes from. Stages ask for it when there is work (`require_ray`); only the process edge says how it is got.

`distill.cli` registers a starter with `start_ray_by`. A program that calls stages itself has called `ray.init()` before; without
either, a stage that has work says so instead of starting a cluster behind the caller's back.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from typing import Any

from distill.errors import ResourceError

_QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a warning at every start
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # C++ lines on the driver's stderr when an actor dies, which is recovered from
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # "(raylet)" lines, which ignore log_to_driver
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # 2 by default: the end of every training waits for it
    "RAY_USAGE_STATS_ENABLED": "0",
}
_OBJECT_STORE_BYTES = 200_000_000
"""Rows never pass through Ray's object store, so a local one may be small."""

_starter: Callable[[], None] | None = None


def start_ray_by(starter: Callable[[], None] | None) -> None:
    """Say how Ray is got when a stage first needs it; for the process edge."""
    global _starter  # noqa: PLW0603  the one setting of a process
    _starter = starter


def require_ray() -> Any:
    """The `ray` module, connected. Raises ResourceError where nobody has said how to get a Ray."""
    import ray

    if not ray.is_initialized():
        if _starter is None:
            raise ResourceError("there is work to do and no Ray: call ray.init() first, or use the command `distill`.")
        _starter()
    return ray


def connect(address: str | None, *, verbose: bool = False) -> None:
    """Start a Ray on this machine (None), or join the one at `address` ("HOST:PORT" or "auto") from one of its nodes.

    For the process edge alone. Raises ResourceError where no Ray answers.
    """
    if not verbose:
        os.environ.update({key: value for key, value in _QUIET.items() if key not in os.environ})
    import ray

    noise = {} if verbose else {"log_to_driver": False, "logging_level": logging.CRITICAL, "configure_logging": False}
    try:
        if address is None:
            cpus = max(2, os.cpu_count() or 2)
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES, **noise)
        else:
            ray.init(address=address, **noise)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ResourceError(f"no Ray answers at {address or 'this machine'}: {error}. Check the address; it is that of a node this machine is part of.") from error
    if not verbose:
        _hush()


def disconnect() -> None:
    """End what `connect` began. For the process edge alone."""
    import sys

    if "ray" in sys.modules and (ray := sys.modules["ray"]).is_initialized():
        ray.shutdown()


def _hush() -> None:
    """Silence what Ray's libraries say on the terminal; their log files keep it."""
    import ray.data
    import ray.train

    warnings.filterwarnings("ignore", module=r"ray(\.|$)")
    logging.getLogger("ray").setLevel(logging.CRITICAL + 1)
    for name in ("ray.data", "ray.train", "ray.tune"):
        logger = logging.getLogger(name)
        logger.handlers = [handler for handler in logger.handlers if type(handler).__name__ == "SessionFileHandler"]
        logger.propagate = False
        logger.setLevel(logging.INFO if logger.handlers else logging.CRITICAL + 1)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False
