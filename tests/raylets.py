"""Clusters of raylets on this machine from the files in `cluster/`, on loopback alone, ended by killing the session that we started."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.command import REPOSITORY, environment, kill_session

START_SECONDS = 90


@dataclass
class Raylets:
    """A running cluster: its address, the environment in which drivers find it, and the session of all its processes."""

    address: str
    environment: dict[str, str]
    session: int

    def nodes(self) -> list[dict[str, float]]:
        """What each living node has, asked in a process of its own."""
        return _nodes(self.address, self.environment)


def two_raylets(**more: str) -> contextlib.AbstractContextManager[Raylets]:
    """Head and worker, one CPU each."""
    return _raylets("local.yaml", 2, **more)


def autoscaling_raylets(**more: str) -> contextlib.AbstractContextManager[Raylets]:
    """A head; two nodes with a pretended GPU each may come."""
    return _raylets("autoscaling.yaml", 1, **more)


def static_raylet(**more: str) -> contextlib.AbstractContextManager[Raylets]:
    """A head that nothing makes larger."""
    return _raylets("", 1, **more)


@contextlib.contextmanager
def _raylets(file: str, nodes: int, **more: str) -> Iterator[Raylets]:
    """The cluster of one file, when so many nodes are there."""
    folder = Path(tempfile.mkdtemp(prefix="rl", dir="/tmp"))  # unix socket paths hold 107 bytes
    (folder / "ray").mkdir()
    port = _free_port()
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
        (folder / file).write_text(yaml.safe_dump(config), "utf-8")
    with (folder / "ray-start.log").open("w") as log:
        head = subprocess.Popen(
            _command(port, folder / file if file else None),
            env={**environment(), **settings, "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_for_nodes(nodes, f"127.0.0.1:{port}", settings, head, Path(log.name))
            yield Raylets(f"127.0.0.1:{port}", settings, head.pid)
        finally:
            kill_session(head.pid)
            head.wait()
            shutil.rmtree(folder, ignore_errors=True)


def _command(port: int, config: Path | None) -> list[str]:
    ray = str(Path(sys.executable).with_name("ray"))
    fixed = ["start", "--head", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=1", "--include-dashboard=false"]
    memory = ["--object-store-memory=150000000", "--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats"]
    return [ray, *fixed, *memory, f"--port={port}", *([f"--autoscaling-config={config}"] if config else [])]


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


_TELL = (
    "import json, ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR'); "
    "print('nodes', json.dumps([node['Resources'] for node in ray.nodes() if node['Alive']]))"
)


def _nodes(address: str, settings: dict[str, str]) -> list[dict[str, float]]:
    asked = [sys.executable, "-c", _TELL, address]
    seen = subprocess.run(asked, env={**environment(), **settings}, capture_output=True, text=True, timeout=60)
    told = seen.stdout.rpartition("nodes ")[2]
    return json.loads(told) if told else []


def _wait_for_nodes(
    nodes: int, address: str, settings: dict[str, str], head: subprocess.Popen[bytes], log: Path
) -> None:
    until = time.monotonic() + START_SECONDS
    host, port = address.split(":")
    while time.monotonic() < until:
        assert head.poll() is None, log.read_text("utf-8")[-2000:]
        with contextlib.suppress(OSError):
            socket.create_connection((host, int(port)), 0.5).close()
            if len(_nodes(address, settings)) == nodes:
                return
        time.sleep(0.2)
    raise TimeoutError(f"{nodes} nodes were not there in {START_SECONDS} s: {log.read_text('utf-8')[-2000:]}")
