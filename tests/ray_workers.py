"""Ray's workers without the imports' cost.

Ray starts one interpreter a worker, or two, each of which imports Ray, and work then imports torch:
1 to 4 CPU-seconds. A Ray that is started within `forked_workers` has another Python:

    raylet → `ray_python` → a process of the raylet's own, which the tests' forkserver forked, or
        that of its node's session (`tests.raylets`), and which has imported Ray (`_serve`) → the
        worker, forked from it

That process imports Ray by itself, since Ray reads its settings then, of which one is its raylet; it
ends when the raylet does. Whatever is no worker, or has a Python, a path or such variables of its
own by a runtime_env, is started as ever; and so is all, where pytest runs without xdist and shares no
forkserver. What only a cold worker shows (its imports, its own seed of `hash`) is held by the Rays
that commands start: jobs/test_digits labels and trains by two of them, stages/label/test_faults.

    python -m tests.ray_workers SOCKET     forks the workers of the raylet that its environment names
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import shlex
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import ray_python
from tests.forkserver import ONE_THREAD, Server, serve

_AHEAD = ("ray.train.v2.api.data_parallel_trainer", "ray.data")


@contextlib.contextmanager
def forked_workers(folder: Path) -> Iterator[None]:
    """Of a Ray that is started within it, whose RAY_TMPDIR is `folder`."""
    python = folder / "python"
    command = shlex.join([sys.executable, "-IS", str(ray_python.__file__)])
    mine = folder / f"python-{os.getpid()}"
    mine.write_text(f'#!/bin/sh\nexec {command} "$@"\n', "utf-8")
    mine.chmod(mine.stat().st_mode | stat.S_IXUSR)
    mine.replace(python)  # another node of this cluster may be starting it
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(python))
        yield


def _serve(path: str) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"{path}.new")
    listener.listen()
    os.rename(f"{path}.new", path)
    raylet = os.pidfd_open(int(os.environ["RAY_RAYLET_PID"]))
    os.environ |= ONE_THREAD  # nothing may start threads when it is loaded
    _import_ahead()
    _set_threads_as_ray()
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
        raise RuntimeError(f"ids were drawn while {_AHEAD} were imported: workers would share them")


def _drawn_by_another() -> bytes:
    """The first id that a fork of this process draws."""
    from ray._raylet import UniqueID

    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(write, UniqueID.from_random().binary())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with open(read, "rb") as drawn:
        return drawn.read()


def _set_threads_as_ray() -> None:
    """Give libraries the threads that Ray gives a worker by OMP_NUM_THREADS, before it begins: they
    were loaded, and look at it no more."""
    from ray._private import utils

    set_by_ray = utils.set_omp_num_threads_if_unset

    def set_threads() -> bool:
        is_set = set_by_ray()
        if is_set:
            import torch
            from threadpoolctl import threadpool_limits

            threads = int(os.environ["OMP_NUM_THREADS"])
            threadpool_limits(threads)
            torch.set_num_threads(threads)
        return is_set

    utils.set_omp_num_threads_if_unset = set_threads


if __name__ == "__main__":
    _serve(sys.argv[1])
