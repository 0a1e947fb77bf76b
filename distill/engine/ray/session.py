"""Where Ray comes from. Stages ask for it when there is work (`require_ray`); only the process edge
says how it is got.

`distill.cli` registers a starter with `start_ray_by`. A program that calls stages itself has called
`ray.init()` before; without either, a stage that has work says so instead of starting a cluster
behind the caller's back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from distill.core.errors import ResourceError

_LOCAL = {
    "RAY_AUTH_MODE": "token",  # what Ray does anyway, without a warning
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": (
        "0"
    ),  # on Linux the one switch that keeps every port on 127.0.0.1; read at `import ray`
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": (
        "0"
    ),  # nobody takes this machine away, and the watcher is a process more
}
_QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a warning at every start
    "RAY_BACKEND_LOG_LEVEL": (
        "fatal"
    ),  # C++ lines on the driver's stderr when an actor dies, which is recovered from
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # "(raylet)" lines, which ignore log_to_driver
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
_OBJECT_STORE_BYTES = 200_000_000
"""Rows never pass through Ray's object store, so a local one may be small."""

_LISTENER_SECONDS = 5

_starter: Callable[[], None] | None = None


def start_ray_by(starter: Callable[[], None] | None) -> None:
    """Say how Ray is got when a stage first needs it; for the process edge."""
    global _starter  # noqa: PLW0603  the one setting of a process
    _starter = starter


def require_ray() -> Any:
    """The `ray` module, connected. Raises ResourceError where nobody has said how to get a Ray."""
    if _starter is not None and not is_connected():
        _starter()
    import ray

    if not ray.is_initialized():
        raise ResourceError(
            "there is work to do and no Ray: call ray.init() first, or use the command `distill`."
        )
    return ray


def is_connected() -> bool:
    """Whether this process has a Ray; asking does not import it."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def connect(address: str | None, *, verbose: bool = False) -> None:
    """Start a Ray on this machine (None), or join the one at `address` ("HOST:PORT" or "auto") from
    one of its nodes.

    For the process edge alone, before anything else imports ray. Raises ResourceError where no Ray
    answers.
    """
    settings = {**({} if verbose else _QUIET), **(_LOCAL if address is None else {})}
    os.environ.update({key: value for key, value in settings.items() if key not in os.environ})
    if address:
        _require_listener(address)
    import ray

    noise = (
        {}
        if verbose
        else {"log_to_driver": False, "logging_level": logging.CRITICAL, "configure_logging": False}
    )
    local = {
        "num_cpus": max(2, os.cpu_count() or 2),
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
    }
    try:
        with _hushed(verbose), keeping_signals():
            ray.init(address=address or "local", **({} if address else local), **noise)
    except Exception as error:  # some are Ray's plain ones
        if address:
            said = (
                f"no Ray answers at {address}: {error}. --ray takes the HOST:PORT of a running Ray,"
                " from one of its nodes."
            )
        else:
            said = (
                f"no Ray could be started on this machine: {error}. Run the same command again;"
                " --verbose shows what Ray says."
            )
        raise ResourceError(said) from error
    if not verbose:
        _silence_libraries()


@contextlib.contextmanager
def keeping_signals() -> Iterator[None]:
    """Give the process edge its signal handlers back: `ray.init` and Ray Train's `fit` put their
    own in place and leave them there."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in kept.items():
            signal.signal(each, handler)


def _require_listener(address: str) -> None:
    """Ray itself blocks for minutes on an address where nothing listens. Raises ResourceError."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return  # "auto"
    try:
        socket.create_connection((host, int(port)), _LISTENER_SECONDS).close()
    except OSError as error:
        raise ResourceError(
            f"no Ray answers at {address}: {error}. --ray takes the HOST:PORT of a running Ray,"
            " from one of its nodes."
        ) from None


def disconnect() -> None:
    """End what `connect` began. For the process edge alone."""
    if is_connected():
        import ray

        ray.shutdown()


@contextlib.contextmanager
def _hushed(verbose: bool) -> Iterator[None]:
    """Keep the one line that Ray's C++ core prints while it starts; it is shown where the start
    fails."""
    if verbose:
        yield
        return
    kept = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except BaseException:
            sink.seek(0)
            os.write(kept, sink.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _silence_libraries() -> None:
    """Silence what Ray's libraries say on the terminal; their log files keep it."""
    import ray.data
    import ray.train

    warnings.filterwarnings("ignore", module=r"ray(\.|$)")
    logging.getLogger("ray").setLevel(logging.CRITICAL + 1)
    for name in ("ray.data", "ray.train", "ray.tune"):
        logger = logging.getLogger(name)
        logger.handlers = [
            handler for handler in logger.handlers if type(handler).__name__ == "SessionFileHandler"
        ]
        logger.propagate = False
        logger.setLevel(logging.INFO if logger.handlers else logging.CRITICAL + 1)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.enable_rich_progress_bars = False
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False
