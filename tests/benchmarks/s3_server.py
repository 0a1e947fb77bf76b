"""Ceph's gateway for a benchmark, and what every benchmark on it needs."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER = Path(__file__).parents[2] / "infra" / "s3-server"


@contextmanager
def s3_server(bucket: str) -> Iterator[str]:
    """Start it, lead the environment there and make a bucket; `s3://BUCKET`."""
    import boto3

    with tempfile.TemporaryDirectory() as folder:
        command = [SERVER, "start", folder]
        started = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = started.stdout.splitlines()
        os.environ.update(line.removeprefix("export ").split("=", 1) for line in lines)
        try:
            boto3.client("s3").create_bucket(Bucket=bucket)
            yield f"s3://{bucket}"
        finally:
            subprocess.run([SERVER, "stop", folder], check=True)


def reach(endpoint: str) -> None:
    """Lead processes that start from now on to this address of the store."""
    os.environ["AWS_ENDPOINT_URL"] = os.environ["AWS_ENDPOINT_URL_S3"] = endpoint
