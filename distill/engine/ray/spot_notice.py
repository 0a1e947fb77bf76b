"""A cloud's word that it takes a machine back, handed on to Ray: run beside `ray start` on each spot
node, by the files in `cluster/`.

    python -m distill.engine.ray.spot_notice --cloud aws      # or gcp: asks until the notice comes
    python -m distill.engine.ray.spot_notice --now            # as a pod's preStop: it comes now

Ray 2.60 knows what a draining node is, but not that a cloud takes one: only `ray start --block`
that is sent SIGTERM drains its node. So this asks the machine's metadata (AWS by IMDSv2, two
minutes ahead; Google 30 seconds ahead) and has Ray drain the node for preemption. What follows is
Ray's: no task or actor is placed there any more, Ray Data hands its actors no other block, Ray
Train restarts its workers elsewhere, lost tasks use up none of their retries, and the raylet ends
once nothing runs on it. `draining` does the rest: labelling actors commit what is in work and
leave.

The metadata is asked directly, through no proxy, at the addresses that the clouds reserve for it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

_ADDRESSES = {"aws": "http://169.254.169.254", "gcp": "http://metadata.google.internal"}
_GCP_SECONDS = 30.0
_AWS_TOKEN_SECONDS = 21_600
# of the seconds that are left, for the last line of a log on its way
_SPARE_SECONDS = 5.0
_POLL_SECONDS = 2.0
_ASK_SECONDS = 5.0
_REASON = "the cloud takes the machine back"

Ask = Callable[[], float | None]
"""Returns how many seconds the machine has left; None as long as no notice has come. Raises OSError
where the metadata does not answer."""


class AwsNotice:
    """The instance action of a spot instance on AWS, by IMDSv2."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.token = ""

    def __call__(self) -> float | None:
        if not self.token:
            headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(_AWS_TOKEN_SECONDS)}
            self.token = _read(f"{self.address}/latest/api/token", headers, method="PUT")
        url = f"{self.address}/latest/meta-data/spot/instance-action"
        try:
            action = json.loads(_read(url, {"X-aws-ec2-metadata-token": self.token}))
        except urllib.error.HTTPError as error:
            if error.code == 401:
                self.token = ""  # it ran out
            elif error.code != 404:
                raise
            return None
        until = datetime.strptime(action["time"], "%Y-%m-%dT%H:%M:%S%z")
        return until.timestamp() - time.time()


class GcpNotice:
    """Whether a spot machine of Google's is preempted."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __call__(self) -> float | None:
        url = f"{self.address}/computeMetadata/v1/instance/preempted"
        preempted = _read(url, {"Metadata-Flavor": "Google"})
        return _GCP_SECONDS if preempted.strip() == "TRUE" else None


_NOTICES: dict[str, Callable[[str], Ask]] = {"aws": AwsNotice, "gcp": GcpNotice}


def await_notice(ask: Ask) -> float:
    """Ask every `_POLL_SECONDS` until the notice comes; return the seconds that are left."""
    while True:
        # a metadata server that does not answer now may answer later
        with contextlib.suppress(OSError, ValueError):
            seconds = ask()
            if seconds is not None:
                return seconds
        time.sleep(_POLL_SECONDS)


def drain_node(address: str | None, node_id: str | None, seconds: float) -> tuple[str, int]:
    """Have Ray drain a node, by default this one, that is gone in so many seconds; return host and
    port of its raylet."""
    import ray
    from ray.core.generated import autoscaler_pb2

    ray.init(address=address or "auto", log_to_driver=False, configure_logging=False)
    try:
        context = ray.get_runtime_context()
        drained = node_id or context.get_node_id()
        (node,) = [each for each in ray.nodes() if each["NodeID"] == drained]
        client = ray._raylet.GcsClient(address=context.gcs_address)
        deadline = time.time() + seconds
        reason = autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION
        client.drain_node(drained, reason, _REASON, int(1000 * deadline))
    finally:
        ray.shutdown()
    return node["NodeManagerAddress"], node["NodeManagerPort"]


def await_end(raylet: tuple[str, int], seconds: float) -> bool:
    """Wait until a raylet has ended, so long at most; return whether it has."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            socket.create_connection(raylet, _ASK_SECONDS).close()
        except OSError:
            return True
        time.sleep(0.5)
    return False


def main(arguments: Sequence[str] | None = None) -> None:
    """Wait for the notice, and have the node drained."""
    options = _options(arguments)
    seconds: float = options.seconds
    if not options.now:
        notice = _NOTICES[options.cloud](options.metadata or _ADDRESSES[options.cloud])
        seconds = await_notice(notice)
    raylet = drain_node(options.address, options.node_id, seconds)
    print(f"{_REASON} in {seconds:.0f} s: its node drains", flush=True)  # noqa: T201  for its log
    if await_end(raylet, seconds - _SPARE_SECONDS):
        print("nothing is left on it", flush=True)  # noqa: T201  as above


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m distill.engine.ray.spot_notice")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--cloud", choices=sorted(_NOTICES), help="whose metadata is asked")
    source.add_argument("--now", action="store_true", help="the notice has come")
    parser.add_argument("--seconds", type=float, default=110.0, help="that are left, with --now")
    parser.add_argument("--address", help="HOST:PORT of the Ray; by default the one that runs here")
    parser.add_argument("--node-id", help="by default this node's")
    parser.add_argument("--metadata", help="URL of the metadata, where it is not the cloud's own")
    return parser.parse_args(arguments)


def _read(url: str, headers: Mapping[str, str], *, method: str = "GET") -> str:
    """Return what a metadata server answers. Raises OSError."""
    request = urllib.request.Request(url, headers=dict(headers), method=method)  # noqa: S310
    # a proxy would be another machine's metadata, and would see the token
    opener: Any = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=_ASK_SECONDS) as answer:
        return str(answer.read().decode())


if __name__ == "__main__":
    main()
