"""Processes that begin with torch, pyarrow and distill imported: forked from one that imported them.

A training rank or a `distill …` costs 8 CPU-seconds when it is started cold, nearly all of it
imports, and a tenth of that when it is forked. One *forkserver* serves all processes of xdist;
without xdist pytest starts one when it first needs it:

    python -m tests.forkserver [FD]    serves the socket that is its stdin until that is closed, and
                                       whoever connects to the listening socket FD

What it forks is a process as any other: in a session of its own where that is asked for, with the
environment, arguments, folder and output that it is given, and ended as an interpreter ends
(`runpy`, then this module's last line). What it shares with the others is only what was read:
modules, and the seed of `hash`. Tests of what happens *during* imports, and one of each kind that
must not depend on that seed, start cold (`subprocess`).

The forkserver has one thread, but for an allocator's that can be forked, and looks before each fork
that this is so: a lock that another thread holds at a fork is held for ever in the child. So
nothing is computed in it, and libraries that start threads when they are loaded are told not to. Not imported are Ray, which reads
its settings when it is (`engine.ray.session`), and `distill.cli`, which looks at its terminal.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import multiprocessing.connection
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_HEAVY = (
    "torch._dynamo",  # at an optimiser's first step
    "torch.nn.parallel.distributed",
    "pandas",  # where pyarrow converts a list
    "pyarrow.parquet",
    "botocore.session",
)
"""What nearly every forked process would import after a while."""
_FORK_SAFE = ("jemalloc_bg_thd",)
"""Threads that pyarrow's allocator starts when it is loaded, and ends itself in a child
(`background_thread_postfork_child`)."""
_NOT_AHEAD = ("distill.__main__", "distill.cli")
SHARED = "DISTILL_TEST_FORKSERVER"
"""Names the socket of the one that is shared."""
_MOST_BYTES = 1 << 20
_START_SECONDS = 300
"""Of a forkserver, on a machine where twenty others want a core."""


def forked_cpu_seconds() -> float:
    """CPU seconds of the processes that this one had forked and saw end, and of those that they
    waited for."""
    return sum(_cpu_seconds)


_cpu_seconds: list[float] = []


class Forked:
    """A forked process: what our tests use of `subprocess.Popen`, with the same meaning.

    Its stdout and stderr are one pipe, `stdout`.
    """

    def __init__(self, arguments: tuple[str, ...], control: socket.socket, output: int) -> None:
        self.args = arguments
        self.stdout = open(output, encoding="utf-8", errors="replace")  # noqa: SIM115
        self.returncode: int | None = None
        self._control = control
        self._lock = threading.Lock()
        self._output = ""
        self._reader = threading.Thread(target=self._read_output, daemon=True)
        self.pid = int(self._word(_START_SECONDS))

    def poll(self) -> int | None:
        """Return the exit code if it has ended: −N where signal N ended it."""
        with self._lock:
            if self.returncode is None and _is_readable(self._control, 0):
                code, seconds = self._word(0).split()
                self.returncode = int(code)
                _cpu_seconds.append(float(seconds))
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises TimeoutExpired."""
        # readable for ever once it has ended, whichever thread reads the code
        if self.poll() is None and not _is_readable(self._control, timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        code = self.poll()
        assert code is not None
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Return all that it and its children print until none of them can, when it has ended.

        Raises TimeoutExpired, after which it may be called again and nothing is lost.
        """
        until = None if timeout is None else time.monotonic() + timeout
        if self._reader.ident is None:
            self._reader.start()
        self._reader.join(timeout)
        if self._reader.is_alive():
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self.wait(None if until is None else max(0.0, until - time.monotonic()))
        return self._output, None

    def _read_output(self) -> None:
        with self.stdout:
            self._output = self.stdout.read()

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _word(self, seconds: float) -> bytes:
        """What the process, or the forkserver about it, says next."""
        said = self._control.recv(64) if _is_readable(self._control, seconds) else b""
        if not said:
            raise RuntimeError(f"the forkserver is gone, or does not answer: {self.args}")
        return said


def fork_module(
    module: str,
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    own_session: bool = False,
) -> Forked:
    """Start `python -m MODULE ARGUMENTS` from the repository, without the imports' cost."""
    words = tuple(map(str, arguments))
    request = {
        "module": module,
        "arguments": words,
        "environment": dict(os.environ if environment is None else environment),
        "own_session": own_session,
        "own_group": False,
    }
    output, theirs = os.pipe()
    control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server = _forkserver(os.getpid())
    with far:
        socket.send_fds(server, [json.dumps(request).encode()], [theirs, far.fileno()])
    os.close(theirs)
    return Forked((module, *words), control, output)


@functools.cache
def _forkserver(_pid: int) -> socket.socket:
    """A socket to the forkserver that is shared, or to one of this process's own, which ends when
    this process does."""
    if SHARED in os.environ:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connected.connect(os.environ[SHARED])
        return connected
    ours, server = _start()
    atexit.register(server.wait)
    atexit.register(ours.close)
    return ours


def _start(listener: socket.socket | None = None) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a forkserver. It ends when the socket that is returned is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening = [] if listener is None else [listener.fileno()]
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.forkserver", *map(str, listening)],
            env={**os.environ, **ONE_THREAD},
            cwd=REPOSITORY,
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            pass_fds=listening,
        )
    return ours, server


@contextlib.contextmanager
def shared_forkserver(folder: Path) -> Iterator[None]:
    """One forkserver for this process and all that it starts; `folder` gets its socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        path = str(folder / "forkserver")
        listener.bind(path)
        listener.listen()
        ours, server = _start(listener)
    os.environ[SHARED] = path
    try:
        yield
    finally:
        del os.environ[SHARED]
        ours.close()
        server.wait()
        os.unlink(path)


def start_session_forkserver(path: Path) -> None:
    """Fork a forkserver off this process, for all that is started from it: whatever it forks is of
    this process's session. This process has been forked itself, and has one thread so far. It ends
    when this process does."""
    until = os.pidfd_open(os.getpid())
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        if not os.fork():
            serve(Server(listener, until))
            os._exit(0)
    os.close(until)
    os.environ[SHARED] = str(path)


def _is_readable(what: object, seconds: float | None) -> bool:
    return bool(multiprocessing.connection.wait([what], seconds))


class Server:
    """The forkserver's own part: forks what it is asked to, and tells how each ended."""

    def __init__(self, listener: socket.socket | None, until: socket.socket | int) -> None:
        """It serves until a socket is closed, which may ask too, or the process of a descriptor
        ends."""
        self.until = until
        self.listener = listener
        self.connected: set[socket.socket] = set()
        self.alive: dict[int, socket.socket] = {}
        """The control socket of each process that was forked, by its pid."""
        self.wakeups, self._woken = socket.socketpair()
        for each in (self.wakeups, self._woken):
            each.setblocking(False)

    def serve(self) -> dict | None:
        """Fork until nobody asks any more (None); return the request in each process forked."""
        signal.set_wakeup_fd(self._woken.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # pytest ends the tests, and so what they run
        with selectors.DefaultSelector() as selector:
            for each in filter(None, (self.until, self.listener, self.wakeups)):
                selector.register(each, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self.wakeups in ready:
                    self.wakeups.recv(4096)
                    self._reap()
                if self.listener in ready:
                    connection, _ = self.listener.accept()
                    self.connected.add(connection)
                    selector.register(connection, selectors.EVENT_READ)
                for asking in ready & {self.until, *self.connected}:
                    content, fds = _request(asking)
                    if not content and asking is self.until:
                        return None
                    if not content:
                        selector.unregister(asking)
                        self.connected.remove(asking)
                        asking.close()
                    elif not self._fork(*fds):
                        selector.close()
                        request = json.loads(content)
                        self._begin(request, *fds)
                        return request

    def _fork(self, output: int, control: int) -> int:
        """Fork; 0 in the child."""
        threads = [each.read_text().strip() for each in Path("/proc/self/task").glob("*/comm")]
        others = [name for name in threads if name not in _FORK_SAFE][1:]
        if others:
            raise RuntimeError(f"threads run in the forkserver, where a fork may hang: {others}")
        pid = os.fork()
        if pid:
            os.close(output)
            self.alive[pid] = socket.socket(fileno=control)
        return pid

    def _reap(self) -> None:
        while self.alive:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if not pid:
                return
            with self.alive.pop(pid) as control:
                code, seconds = os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
                try:
                    control.send(f"{code} {seconds}".encode())
                except OSError:
                    continue  # who asked for it is gone

    def _begin(self, request: dict, output: int, control: int) -> None:
        """Make the forked process what was asked for, and say its pid."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sockets = (self.listener, self.wakeups, self._woken, *self.connected)
        for each in filter(None, (*sockets, *self.alive.values())):
            each.close()
        os.close(self.until if isinstance(self.until, int) else self.until.detach())
        if request["own_session"]:
            os.setsid()
        elif request["own_group"]:
            os.setpgrp()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for each in (nothing, output):
            os.close(each)
        os.environ.clear()
        os.environ.update(request["environment"])
        with socket.socket(fileno=control) as ready:
            ready.send(str(os.getpid()).encode())


def _request(asking: socket.socket | int) -> tuple[bytes, list[int]]:
    """What is asked for, and the descriptors that it gets; nothing where nobody asks any more."""
    if isinstance(asking, int):
        return b"", []
    content, fds, _, _ = socket.recv_fds(asking, _MOST_BYTES, 2)
    return content, fds


def _import_ahead() -> None:
    import distill

    found = pkgutil.walk_packages(distill.__path__, "distill.")
    ours = [each.name for each in found if not each.name.startswith(_NOT_AHEAD)]
    for name in (*_HEAVY, *ours):
        importlib.import_module(name)
    assert "ray" not in sys.modules, "Ray would read its settings here"
    gc.collect()
    gc.freeze()


def _become(module: str, arguments: list[str]) -> None:
    """Run a module as `python -m` does."""
    import numpy as np
    import torch

    np.random.seed()  # no two processes begin alike
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(
        int(os.environ.get("OMP_NUM_THREADS") or cores)
    )  # as without `ONE_THREAD`
    sys.stdout.reconfigure(line_buffering="PYTHONUNBUFFERED" in os.environ)
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end(code: int) -> None:
    """End this process as an interpreter ends, but for the last step: nothing is taken apart.

    To clear all modules writes to the pages of all that was imported, which are copied then: half
    of what a forked `distill status` costs.
    """
    threading._shutdown()  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _code_of(end: BaseException) -> int:
    """Return the exit code of what ended a module, printed as an interpreter prints it."""
    if not isinstance(end, SystemExit):
        sys.excepthook(type(end), end, end.__traceback__)
        return 1
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


def serve(server: Server) -> None:
    """Fork until nobody asks any more, and be what was asked for in each process that is forked."""
    asked = server.serve()
    if asked is None:
        return
    code = 0
    try:
        _become(asked["module"], asked["arguments"])
    except KeyboardInterrupt:
        raise
    except BaseException as ended:  # noqa: BLE001
        code = _code_of(ended)
    _end(code)


if __name__ == "__main__":
    _import_ahead()
    _listeners = [socket.socket(fileno=int(fd)) for fd in sys.argv[1:]]
    serve(Server(next(iter(_listeners), None), socket.socket(fileno=os.dup(0))))
