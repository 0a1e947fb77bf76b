"""The Python of a Ray whose workers are forked (`tests.ray_workers`): takes a command of Ray's, and asks
for the process that it would become. It imports little, since it is started for each worker.

    python -IS ray_python.py [-u] FILE ARGUMENTS
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

_WORKER = "ray._private.workers.default_worker"
_FORKSERVER = "DISTILL_TEST_FORKSERVER"
_ENVIRONMENT, _LANGUAGE = "--serialized-runtime-env-context=", "--language="
_READ_AT_START = ("PYTHON", "OMP_", "OPENBLAS_", "MKL_")
"""Variables that a process which was forked has read before."""
_START_SECONDS = 300


def main(arguments: Sequence[str]) -> None:
    """Wait for the end of a worker that is forked, or become what was asked for."""
    context: dict[str, Any] = {}
    of_worker = []
    for each in arguments:
        if each.startswith(_ENVIRONMENT):
            context = json.loads(each.removeprefix(_ENVIRONMENT))
        elif not each.startswith(_LANGUAGE) and os.path.basename(each) != "setup_worker.py":
            of_worker.append(each)
    if _may_be_forked(of_worker, context):
        environment = {**os.environ, **context.get("env_vars", {})}
        try:
            worker = _fork(_forks_of_raylet(), _WORKER, of_worker[1:], environment)
            # a raylet looks after what it started, until that has registered
            worker.recv(64)
            return
        except OSError as error:
            print(f"a worker is started cold: {error!r}", file=sys.stderr)
    os.execv(sys.executable, [sys.executable, *arguments])


def _may_be_forked(of_worker: Sequence[str], context: Mapping[str, Any]) -> bool:
    is_known = all(map(os.environ.get, ("RAY_RAYLET_PID", "RAY_TMPDIR", _FORKSERVER)))
    if not is_known or os.path.basename(of_worker[0]) != "default_worker.py":
        return False
    ours = f"{os.environ['RAY_TMPDIR']}/python"
    if context.get("py_executable", ours) not in (ours, sys.executable):
        return False
    given = {name for name, value in context.items() if value}
    variables = context.get("env_vars", {})
    return given <= {"py_executable", "env_vars"} and not any(
        name.startswith(_READ_AT_START) or "$" in value for name, value in variables.items()
    )


def _forks_of_raylet() -> socket.socket:
    """A socket to the process that forks this raylet's workers."""
    path = f"{os.environ['RAY_TMPDIR']}/workers-{os.environ['RAY_RAYLET_PID']}"
    until = time.monotonic() + _START_SECONDS
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(path):
            # nothing may start threads there when it is loaded
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            server = _connected(os.environ[_FORKSERVER])
            _fork(server, "tests.ray_workers", [path], environment)
        while not os.path.exists(path):
            if time.monotonic() > until:
                raise TimeoutError(f"{path} was not there in {_START_SECONDS} s")
            time.sleep(0.01)
    return _connected(path)


def _connected(path: str) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    found.connect(path)
    return found


def _fork(
    server: socket.socket, module: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> socket.socket:
    """Ask for a process, and wait until it is there. Returns who tells its end. Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = {
        "module": module,
        "arguments": arguments,
        "environment": environment,
        "own_session": False,
        "own_group": True,  # a raylet ends a worker by its process group, and no other shall be in it
    }
    socket.send_fds(server, [json.dumps(request).encode()], [2, theirs.fileno()])
    theirs.close()
    if not ours.recv(64):
        raise ConnectionError(f"who forks {module} is gone")
    return ours


if __name__ == "__main__":
    main(sys.argv[1:])
