"""Ray's workers without the imports' cost.

Ray starts one interpreter a worker, or two, each of which imports Ray, and work then imports torch:
1 to 4 CPU-seconds. A Ray that is started within `forked_workers` has another Python, `_LAUNCHER`:

    raylet → the launcher → a process of the raylet's own, which the tests' forkserver forked and
        which has imported Ray (`_serve`) → the worker, forked from it

That process imports Ray by itself, since Ray reads its settings then, of which one is its raylet; it
ends when the raylet does. Whatever is no worker, or has a Python or a path of its own by a
runtime_env, is started as ever; and so is all, where pytest runs without xdist and shares no
forkserver.

    python -m tests.ray_workers SOCKET     forks the workers of the raylet that its environment names
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.forkserver import ONE_THREAD, SHARED, Server, serve

_WORKER = "ray._private.workers.default_worker"
_AHEAD = ("ray.train.v2.api.data_parallel_trainer", "ray.data")
_LAUNCHER = '''\
#!{python} -IS
"""The Python of a Ray, by `tests.ray_workers`."""

import fcntl
import json
import os
import socket
import sys
import time

PYTHON = "{python}"
ENVIRONMENT, LANGUAGE = "--serialized-runtime-env-context=", "--language="


def main():
    arguments = sys.argv[1:]
    context = {{}}
    of_worker = []
    for each in arguments:
        if each.startswith(ENVIRONMENT):
            context = json.loads(each.removeprefix(ENVIRONMENT))
        elif not each.startswith(LANGUAGE) and os.path.basename(each) != "setup_worker.py":
            of_worker.append(each)
    if is_cold(of_worker, context):
        os.execv(PYTHON, [PYTHON, *arguments])
    # one thread, as Ray sets it before work imports torch
    environment = {{"OMP_NUM_THREADS": "1", **os.environ, **context.get("env_vars", {{}})}}
    # raylets look after what they started until it has registered
    fork(of_raylet(), "{worker}", of_worker[1:], environment).recv(64)


def is_cold(of_worker, context):
    """Whether it is started as ever."""
    known = {{"RAY_RAYLET_PID", "{shared}"}} <= os.environ.keys()
    if not known or os.path.basename(of_worker[0]) != "default_worker.py":
        return True
    if context.get("py_executable", PYTHON) not in (PYTHON, __file__):
        return True
    given = {{name for name, value in context.items() if value}}
    return bool(given - {{"py_executable", "env_vars"}}) or "PYTHONPATH" in context.get("env_vars", {{}})


def of_raylet():
    """A socket to the process that forks this raylet's workers."""
    path = f"{{os.environ['RAY_TMPDIR']}}/workers-{{os.environ['RAY_RAYLET_PID']}}"
    with open(path + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(path):
            server = connected(os.environ["{shared}"])
            fork(server, "tests.ray_workers", [path], {{**os.environ, **{one_thread}}})
        while not os.path.exists(path):
            time.sleep(0.01)
    return connected(path)


def connected(path):
    found = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    found.connect(path)
    return found


def fork(server, module, arguments, environment):
    """Ask for a process, and wait until it is there. Returns who tells its end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = dict(module=module, arguments=arguments, environment=environment, own_session=False)
    socket.send_fds(server, [json.dumps(request).encode()], [2, theirs.fileno()])
    theirs.close()
    ours.recv(64)
    return ours


main()
'''


@contextlib.contextmanager
def forked_workers(folder: Path) -> Iterator[None]:
    """Of a Ray that is started within it, whose RAY_TMPDIR is `folder`."""
    launcher = folder / "python"
    content = _LAUNCHER.format(
        python=sys.executable, worker=_WORKER, shared=SHARED, one_thread=ONE_THREAD
    )
    launcher.write_text(content, "utf-8")
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(launcher))
        yield


def _serve(path: str) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"{path}.new")
    listener.listen()
    os.rename(f"{path}.new", path)
    raylet = os.pidfd_open(int(os.environ["RAY_RAYLET_PID"]))
    _import_ahead()
    gc.collect()
    gc.freeze()
    serve(Server(listener, raylet))


def _import_ahead() -> None:
    """Import what work on Ray imports, and draw nothing: Ray's generator of ids is seeded when it is
    first asked, and workers that share its state have the same ids."""
    import ray.actor

    drawn = ray.actor.ActorClassID
    with pytest.MonkeyPatch.context() as patch:
        # asked for each class of an actor
        of_system = SimpleNamespace(from_random=lambda: drawn(os.urandom(drawn.size())))
        patch.setattr(ray.actor, "ActorClassID", of_system)
        for name in _AHEAD:
            importlib.import_module(name)
    if len({_drawn_by_another() for _ in range(2)}) < 2:
        raise RuntimeError(
            f"Ray's ids were drawn while {_AHEAD} were imported: workers would share them"
        )


def _drawn_by_another() -> bytes:
    """The first id that a fork of this process draws."""
    from ray._raylet import UniqueID

    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(write, UniqueID.from_random().binary())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with open(read, "rb") as drawn:
        return drawn.read()


if __name__ == "__main__":
    _serve(sys.argv[1])
