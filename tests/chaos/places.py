"""Where pool and root of a run lie: on this disk, or in a bucket of one real S3 server that all
runs share."""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path

from tests.conftest import SERVER, forget_client


class S3Server:
    """Ceph on loopback, started when the first run needs it; this process's environment leads there
    from then on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._bucket, self._runs = "", False

    def bucket(self) -> str:
        """`s3://BUCKET`, on a server that runs."""
        if not self._runs:
            self.start()
        if not self._bucket:
            import boto3

            self._bucket = f"chaos-{uuid.uuid4().hex[:12]}"
            boto3.client("s3").create_bucket(Bucket=self._bucket)
        return f"s3://{self._bucket}"

    def start(self) -> None:
        """Start it, or bring it back with all that was acknowledged."""
        started = self._do("start")
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ |= dict(
            line.removeprefix("export ").split("=", 1) for line in started.splitlines()
        )
        forget_client()
        self._runs = True

    def kill(self) -> None:
        """SIGKILL of all its processes, as a power cut."""
        self._runs = False
        self._do("kill")

    def stop(self) -> None:
        """End it, if it was ever started."""
        if self.folder.exists():
            self._do("stop")

    def _do(self, command: str) -> str:
        done = subprocess.run(
            [SERVER, command, self.folder],
            env=os.environ | {"S3_SIZE_GB": "4"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"s3-server {command}: {done.stderr}")
        return done.stdout
