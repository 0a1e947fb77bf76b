"""Where Ray comes from. The engine takes it when there is work (`require_ray`); only the process
edge decides how it is started.

`distill.cli` registers a starter with `start_ray_by`. A program that calls stages itself has called
`ray.init()` before; without either, work is refused instead of starting a cluster behind the
caller's back.
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
from distill.core.events import forget, observe
from distill.engine.ray.metrics import RayMetrics
from distill.engine.ray.patience import start_patiently
from distill.engine.ray.submission.environment import delete_environment
from distill.storage.settings import VARIABLE

_LOCAL = {
    "RAY_AUTH_MODE": "token",  # what Ray does anyway, without a warning
    # on Linux the one switch that keeps every port on 127.0.0.1; read at `import ray`
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # 30 by default, which a busy machine exceeds
    "RAY_gcs_server_port_wait_time_s": "120",
    # nobody takes this machine away, and the watcher is one more process
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}
_QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a warning at every start
    # else C++ lines on the driver's stderr when an actor dies, which is recovered from
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # "(raylet)" lines, which ignore log_to_driver
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
# rows never pass through Ray's object store, so a local one may be small
_OBJECT_STORE_BYTES = 200_000_000
_LISTENER_SECONDS = 5

_starter: Callable[[], None] | None = None
_joins = False


def start_ray_by(starter: Callable[[], None] | None, *, joins: bool = False) -> None:
    """Register how Ray is started when there is first work for it, or how one is joined that is
    there; for the process edge."""
    global _starter, _joins  # noqa: PLW0603  the one setting of a process
    _starter = starter
    _joins = joins
    if starter is not None:
        # before there is a Ray: it is started after a stage has said what is left
        _watch()


def starts_its_own() -> bool:
    """Whether this process starts a Ray of its own where there is work for it."""
    return _starter is not None and not _joins


def require_ray() -> Any:
    """Return the `ray` module, connected. Raises ResourceError where nothing starts a Ray."""
    if _starter is not None and not is_connected():
        _starter()
    import ray

    if not ray.is_initialized():
        raise ResourceError(
            "there is work to do and no Ray: call ray.init() first, or use the command `distill`."
        )
    _require_same_stores(ray)
    return ray


def _require_same_stores(ray: Any) -> None:
    """Raise ResourceError where workers would not reach stores as the job says."""
    wanted = os.environ.get(VARIABLE, "")
    of_workers = ray.get_runtime_context().runtime_env.get("env_vars") or {}
    if wanted != of_workers.get(VARIABLE, ""):
        raise ResourceError(
            "this Ray was started before the job was read, so that its workers do not know the"
            f" job's [storage]. Give ray.init(runtime_env={{'env_vars': {{'{VARIABLE}': …}}}}) what"
            f" stands in os.environ['{VARIABLE}'] once the job is read."
        )


def is_connected() -> bool:
    """Return whether this process has a Ray, without importing it."""
    # another thread may be about to import it
    is_initialized = getattr(sys.modules.get("ray"), "is_initialized", None)
    return is_initialized is not None and bool(is_initialized())


_metrics = RayMetrics(is_connected)


def _watch() -> None:
    """Give Ray's metrics what the run is told of, once."""
    forget(_metrics)
    observe(_metrics)


def connect(address: str | None, *, verbose: bool = False) -> None:
    """Start a Ray on this machine (None), or join the one at `address` ("HOST:PORT" or "auto") from
    one of its nodes. Its workers reach stores as this process does (`storage.settings`).

    For the process edge alone, before anything else imports ray. Raises ResourceError where no Ray
    answers.
    """
    _set_environment(local=address is None, quiet=not verbose)
    if address:
        _require_listener(address)
    import ray

    options = _init_options(local=address is None, quiet=not verbose)
    if VARIABLE in os.environ:
        options["runtime_env"] = {"env_vars": {VARIABLE: os.environ[VARIABLE]}}

    def start() -> None:
        with _hushed(verbose), keeping_signals():
            ray.init(address=address or "local", **options)

    try:
        if address:
            start()
        else:
            start_patiently(start)
    except Exception as error:  # some are Ray's plain ones
        if address:
            raise _nothing_answers(address, error) from error
        raise ResourceError(
            f"no Ray could be started on this machine: {error}. Run the same command again;"
            " --verbose shows what Ray says."
        ) from error
    if not verbose:
        _silence_libraries()
    _watch()


def _set_environment(*, local: bool, quiet: bool) -> None:
    """Set what Ray reads from the environment, unless the user has."""
    settings = {**(_QUIET if quiet else {}), **(_LOCAL if local else {})}
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def _init_options(*, local: bool, quiet: bool) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if local:
        # the default of two training workers has to start on one core too
        options["num_cpus"] = max(2, os.cpu_count() or 2)
        options["include_dashboard"] = False
        options["object_store_memory"] = _OBJECT_STORE_BYTES
    if quiet:
        options["log_to_driver"] = False
        options["logging_level"] = logging.CRITICAL
        options["configure_logging"] = False
    return options


def _nothing_answers(address: str, error: Exception) -> ResourceError:
    return ResourceError(
        f"no Ray answers at {address}: {error}. --ray takes the HOST:PORT of a running Ray, from"
        " one of its nodes."
    )


@contextlib.contextmanager
def keeping_signals() -> Iterator[None]:
    """Give the process edge its signal handlers back: `ray.init` and Ray Train's `fit` put their
    own in place and leave them there."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _require_listener(address: str) -> None:
    """Raise ResourceError where nothing listens."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return  # "auto"
    # Ray itself would block here for minutes
    try:
        socket.create_connection((host, int(port)), _LISTENER_SECONDS).close()
    except OSError as error:
        raise _nothing_answers(address, error) from None


def disconnect() -> None:
    """End what `connect` began. For the process edge alone."""
    forget(_metrics)
    delete_environment()
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
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except BaseException:
            sink.seek(0)
            printed = sink.read()
            os.write(stderr, printed)
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _as_ascii(record: logging.LogRecord) -> bool:
    """Bring a record's message to ASCII, other letters as escapes."""
    message = record.getMessage()
    record.msg = message.encode("ascii", "backslashreplace").decode("ascii")
    record.args = ()
    return True


def _silence_libraries() -> None:
    """Keep what Ray's libraries log from the terminal; it stays in their log files."""
    import ray.data
    import ray.train

    warnings.filterwarnings("ignore", module=r"ray(\.|$)")
    logging.getLogger("ray").setLevel(logging.CRITICAL + 1)
    for name in ("ray.data", "ray.train", "ray.tune"):
        logger = logging.getLogger(name)
        # by name: importing the class from Ray's private module is no better
        to_files = [each for each in logger.handlers if type(each).__name__ == "SessionFileHandler"]
        logger.handlers = to_files
        for handler in to_files:
            # Ray opens these files in the terminal's encoding, which may not have its signs
            handler.addFilter(_as_ascii)
        logger.propagate = False
        level = logging.INFO if to_files else logging.CRITICAL + 1
        logger.setLevel(level)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.enable_rich_progress_bars = False
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False
