"""Clusters of raylets on this machine from the files in `cluster/`, on loopback alone, ended by
killing the session that we started."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from distill.engine.ray.patience import start_patiently
from tests.command import REPOSITORY, environment, kill_session, processes
from tests.forkserver import Forked, fork_module, start_session_forkserver
from tests.ports import free_port
from tests.ray_workers import forked_workers
from tests.summary import forget_ray_folder, ray_folder
from tests.waiting import LIMIT_SECONDS

START_SECONDS = LIMIT_SECONDS


@contextlib.contextmanager
def starting_alone() -> Iterator[None]:
    """Start a Ray while no other process of the tests starts one. A raylet waits 15 s for its agent,
    which takes 3 CPU-seconds to begin, and then dies; nobody can change that."""
    # a user's own, for nobody may open another's file in /tmp for writing
    name = f"distill-ray-start-{os.getuid()}.lock"
    with open(Path(tempfile.gettempdir(), name), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def ahead(session: int) -> Iterator[None]:
    """Give a session in which a Ray starts more of the CPU than the others have, where we may: Linux
    shares it among sessions first, and each command that a test waits for is one."""
    autogroup = Path(f"/proc/{session}/autogroup")
    with contextlib.suppress(OSError):
        autogroup.write_text("-10")
    yield
    with contextlib.suppress(OSError):
        autogroup.write_text("0")


@dataclass(frozen=True)
class Head:
    """How the head's control service was started."""

    command: list[bytes]
    variables: dict[bytes, bytes]


class Asker:
    """A process that asks a head which nodes there are: Ray reads its settings when it is imported,
    so it cannot be asked from here, and to import it takes 2 CPU-seconds."""

    def __init__(self, address: str, settings: dict[str, str]) -> None:
        self._command = [sys.executable, "-m", "tests.raylets", "ask", address]
        self._settings = settings
        self._process: subprocess.Popen[str] | None = None

    def nodes(self) -> list[dict[str, float]]:
        """Return what each living node has; nothing while the head does not answer."""
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                env=environment(**self._settings),
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        if line := self._process.stdout.readline():
            return json.loads(line)
        self.end()
        return []

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@dataclass
class Raylets:
    """A running cluster: its address, the environment in which drivers find it, and the session of
    all its processes."""

    address: str
    environment: dict[str, str]
    session: int
    asker: Asker
    joined: list[Forked] = field(default_factory=list)
    """The starter of each node that joined by itself; its pid is its session, workers and all."""
    heads: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """The head's control services that were started again."""

    def nodes(self) -> list[dict[str, float]]:
        """What each living node has."""
        return self.asker.nodes()

    def join(self) -> int:
        """One more node with one CPU, here as soon as it is. Returns its session."""
        log = Path(self.environment["RAY_TMPDIR"], f"node{len(self.joined)}.log")
        node = _fork(environment(**self.environment), log, "join", self.address)
        self.joined.append(node)
        return node.pid

    def kill_raylet(self, session: int) -> None:
        """SIGKILL a joined node's raylet alone; what it started notices by itself."""
        (raylet,) = [
            pid
            for pid in processes(session)
            if Path(f"/proc/{pid}/comm").read_text().strip() == "raylet"
        ]
        os.kill(raylet, signal.SIGKILL)

    def kill_head(self) -> Head:
        """SIGKILL the head's control service alone. Returns how it is started again."""
        # `ray start --block` ends all that it started where one of them dies
        os.kill(self.session, signal.SIGSTOP)
        sessions = [self.session, *(each.pid for each in self.heads)]
        (service,) = [
            pid
            for session in sessions
            for pid in processes(session)
            if Path(f"/proc/{pid}/comm").read_text().strip() == "gcs_server"
        ]
        command = Path(f"/proc/{service}/cmdline").read_bytes().split(b"\0")[:-1]
        lines = Path(f"/proc/{service}/environ").read_bytes().split(b"\0")
        variables = dict(line.split(b"=", 1) for line in lines if b"=" in line)
        os.kill(service, signal.SIGKILL)
        return Head(command, variables)

    def restart(self, head: Head) -> None:
        """Start the head's control service again, with what it had kept."""
        with self.log_of_heads.open("ab") as log:
            again = subprocess.Popen(
                head.command,
                env=head.variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.heads.append(again)

    @property
    def log_of_heads(self) -> Path:
        """What control services say that were started again."""
        return Path(self.environment["RAY_TMPDIR"], "heads.log")

    def end(self) -> None:
        """Kill whatever is left of the joined nodes and of the heads that came back."""
        for node in (*self.joined, *self.heads):
            kill_session(node.pid)
            node.wait()


def two_raylets(**more: str) -> contextlib.AbstractContextManager[Raylets]:
    """Head and worker, one CPU each."""
    return _raylets("local.yaml", 2, **more)


def autoscaling_raylets(most: int = 2, **more: str) -> contextlib.AbstractContextManager[Raylets]:
    """A head; so many nodes with a pretended GPU each may come."""
    return _raylets("autoscaling.yaml", 1, most=most, **more)


def barren_raylets(**more: str) -> contextlib.AbstractContextManager[Raylets]:
    """A head that nodes may join by its autoscaler's word; none ever comes."""
    return _raylets("autoscaling.yaml", 1, most=0, **more)


def static_raylet(cpus: int = 1, **more: str) -> contextlib.AbstractContextManager[Raylets]:
    """A head of so many CPUs that nothing makes larger."""
    return _raylets("", 1, cpus, **more)


@contextlib.contextmanager
def _raylets(
    file: str, nodes: int, cpus: int = 1, most: int | None = None, **more: str
) -> Iterator[Raylets]:
    """The cluster of one file, when so many nodes are there."""
    folder = ray_folder()
    port, raylets = free_port(), None
    settings = {
        "RAY_TMPDIR": str(folder),
        "RAY_AUTH_MODE": "disabled",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        **more,
    }
    if file:
        config = yaml.safe_load((REPOSITORY / "cluster" / file).read_text("utf-8"))
        config["provider"]["gcs_address"] = f"127.0.0.1:{port}"
        if most is not None:
            config["max_workers"] = most
            config["available_node_types"]["gpu.worker"]["max_workers"] = most
        (folder / file).write_text(yaml.safe_dump(config), "utf-8")
    address = f"127.0.0.1:{port}"
    asker = Asker(address, settings)
    with contextlib.ExitStack() as starts:
        starts.enter_context(starting_alone())
        surroundings = environment(
            **settings, RAY_FAKE_CLUSTER="1", AUTOSCALER_UPDATE_INTERVAL_S="1"
        )
        log = folder / "ray-start.log"
        options = _options(port, folder / file if file else None, cpus)
        head = _fork(surroundings, log, "start", *options)
        starts.enter_context(ahead(head.pid))
        try:
            _wait_for_nodes(nodes, address, asker, head, log)
            starts.close()
            raylets = Raylets(address, settings, head.pid, asker)
            yield raylets
        finally:
            asker.end()
            if raylets:
                raylets.end()
            kill_session(head.pid)
            head.wait()
            forget_ray_folder(folder)


def _fork(surroundings: dict[str, str], log: Path, *command: str) -> Forked:
    """Begin a node in a session of its own, which its workers are in too, though they are forked."""
    log.touch()
    return fork_module(
        "tests.raylets", *command, str(log), environment=surroundings, own_session=True
    )


@contextlib.contextmanager
def _node(log: str) -> Iterator[None]:
    """Of a process that starts a node, within it, and tells a file of it."""
    with open(log, "wb") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
    folder = Path(os.environ["RAY_TMPDIR"])
    start_session_forkserver(folder / f"forkserver-{os.getpid()}")
    with forked_workers(folder):
        yield


def _options(port: int, config: Path | None, cpus: int) -> list[str]:
    fixed = [
        "--head",
        "--block",
        "--node-ip-address=127.0.0.1",
        f"--num-cpus={cpus}",
        "--include-dashboard=false",
    ]
    memory = [
        "--object-store-memory=150000000",
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--disable-usage-stats",
    ]
    return [
        *fixed,
        *memory,
        f"--port={port}",
        *([f"--autoscaling-config={config}"] if config else []),
    ]


def _wait_for_nodes(nodes: int, address: str, asker: Asker, head: Forked, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    host, port = address.split(":")
    while time.monotonic() < until:
        assert head.poll() is None, log.read_text("utf-8")[-2000:] + head.communicate()[0][-2000:]
        with contextlib.suppress(OSError):
            socket.create_connection((host, int(port)), 0.5).close()
            if len(asker.nodes()) == nodes:
                return
        time.sleep(0.2)
    raise TimeoutError(
        f"{nodes} nodes were not there in {START_SECONDS} s: {log.read_text('utf-8')[-2000:]}"
    )


def _join(address: str, log: str) -> None:
    """A node as `cluster/local.yaml` starts it (`ray start` joins no cluster that is kept to
    loopback); never returns."""
    with _node(log):
        import ray._private.node
        import ray._private.parameter

        asked = ray._private.parameter.RayParams(
            node_ip_address="127.0.0.1", gcs_address=address, redis_address=address, num_cpus=1, object_store_memory=150_000_000,
            min_worker_port=0, max_worker_port=0, dashboard_agent_listen_port=0,
        )  # fmt: skip
        start_patiently(
            lambda: ray._private.node.Node(
                asked, head=False, shutdown_at_exit=False, spawn_reaper=False
            )
        )
        signal.pause()


def _start(*arguments: str) -> None:
    """`ray start`."""
    *options, log = arguments
    with _node(log):
        from ray.scripts import scripts

        scripts.cli(["start", *options])


def _answer(address: str) -> None:
    """What each living node has, as a line of JSON for each line of the standard input."""
    from ray._raylet import GcsClient
    from ray.core.generated.gcs_pb2 import GcsNodeInfo

    client = GcsClient(address=address)
    for _ in sys.stdin:
        nodes = client.get_all_node_info(timeout=60).values()
        alive = [each for each in nodes if each.state == GcsNodeInfo.ALIVE]
        print(json.dumps([dict(each.resources_total) for each in alive]), flush=True)


if __name__ == "__main__":
    {"start": _start, "join": _join, "ask": _answer}[sys.argv[1]](*sys.argv[2:])
