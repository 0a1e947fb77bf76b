"""A head with dashboard and token, on loopback alone, as a cluster's own head has them."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.command import Ended, distill, environment, kill_session, start
from tests.forkserver import Forked
from tests.ports import free_port
from tests.raylets import ahead, starting_alone
from tests.summary import forget_ray_folder, ray_folder
from tests.waiting import LIMIT_SECONDS


@dataclass
class Cluster:
    """A head that runs, and the folder of its sessions and logs."""

    address: str
    folder: Path

    @property
    def token_file(self) -> Path:
        """The token that it asks for."""
        return self.folder / "token"

    def distill(self, *words: object, **more: str) -> Ended:
        """Run a command that works on this cluster, to its end."""
        return distill(*words, **self._told(more))

    def start(self, *words: object, **more: str) -> Forked:
        """Begin one."""
        return start(*words, **self._told(more))

    def _told(self, more: dict[str, str]) -> dict[str, str]:
        return {
            "RAY_API_SERVER_ADDRESS": self.address,
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
            "HOME": str(self.folder),
            **more,
        }


@contextlib.contextmanager
def dashboard_cluster(cpus: int = 2) -> Iterator[Cluster]:
    """The cluster, when its dashboard answers."""
    folder = ray_folder()
    ports = [free_port() for _ in range(3)]
    cluster = Cluster(f"http://127.0.0.1:{ports[0]}", folder)
    cluster.token_file.write_text(secrets.token_hex(32))
    # the drivers of jobs are begun by `python`, which is found as a shell finds it
    here = Path(sys.executable).parent
    settings = {
        "RAY_TMPDIR": str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(cluster.token_file),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "PATH": f"{here}{os.pathsep}{os.environ['PATH']}",
    }
    surroundings = environment(**settings)
    # what is sent along is to be found in the package alone
    surroundings.pop("PYTHONPATH", None)
    with contextlib.ExitStack() as starts, (folder / "ray-start.log").open("w") as log:
        starts.enter_context(starting_alone())
        head = subprocess.Popen(
            _command(here, ports, cpus),
            env=surroundings,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        starts.enter_context(ahead(head.pid))
        try:
            _await_dashboard(cluster, head, Path(log.name))
            starts.close()
            yield cluster
        finally:
            kill_session(head.pid)
            head.wait()
            forget_ray_folder(folder)


def _command(here: Path, ports: list[int], cpus: int) -> list[str]:
    dashboard, agent, gcs = ports
    options = {
        "node-ip-address": "127.0.0.1",
        "num-cpus": cpus,
        "port": gcs,
        "include-dashboard": "true",
        "dashboard-host": "127.0.0.1",
        "dashboard-port": dashboard,
        "dashboard-agent-listen-port": agent,
        "object-store-memory": 150_000_000,
        "min-worker-port": 0,
        "max-worker-port": 0,
    }
    named = [f"--{name}={value}" for name, value in options.items()]
    return [str(here / "ray"), "start", "--head", "--block", "--disable-usage-stats", *named]


def _await_dashboard(cluster: Cluster, head: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < until:
        assert head.poll() is None, log.read_text("utf-8")[-2000:]
        try:
            urlopen(f"{cluster.address}/api/version", timeout=2).close()
        except HTTPError:
            return  # it asks for the token
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(log.read_text("utf-8")[-2000:])
