"""The commands that work on a cluster from outside, against a server that says what a dashboard
says."""

from __future__ import annotations

import json
import os
import signal

import pytest
from aiohttp import web

from tests.command import distill, start
from tests.engine.ray.submission.test_client import answer, dashboard
from tests.tiny import DOUBLING, write_job
from tests.waiting import LIMIT_SECONDS

JOB = """
    root = "{root}"
    [pools.p]
    path = "{pool}"
    features = {{ kind = "vector", columns = ["pixels"] }}
    [labels.l]
    labeler = {{ kind = "custom", file = "labeler.py" }}
    over = ["p"]
"""


def job(folder, root="s3://b/r", pool="{root}/pools/p"):
    (folder / "labeler.py").write_text(DOUBLING)
    return write_job(folder, JOB.format(root=root, pool=pool))


class Cluster:
    """Takes whatever it is sent; its job ends as it was told."""

    def __init__(self, **ended):
        self.ended = {"status": "SUCCEEDED", "driver_exit_code": 0, **ended}
        self.paths = []
        self.packages = set()
        self.submitted = None

    async def __call__(self, request):
        self.paths.append(f"{request.method} {request.path}")
        if request.path.startswith("/api/packages/"):
            if request.method == "PUT":
                assert await request.read()
                self.packages.add(request.path)
            return web.Response(status=200 if request.path in self.packages else 404)
        if request.path == "/api/version":
            return web.json_response({"ray_version": "2.60.0"})
        if request.method == "POST" and request.path == "/api/jobs/":
            self.submitted = await request.json()
            return web.json_response({"submission_id": self.submitted["submission_id"]})
        if request.path.endswith("/stop"):
            return web.json_response({"stopped": True})
        if request.path.endswith("/logs/tail"):
            connection = web.WebSocketResponse()
            await connection.prepare(request)
            await connection.send_str("  label l: 6 of 10 rows, 2 rows/s, 2 s left\n")
            return connection
        details = answer(**self.ended, end_time=4_000)
        return web.json_response([details] if request.path == "/api/jobs/" else details)


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("CANARY", "hush-7a3f")

    def command(cluster, *words, **more):
        with dashboard(cluster) as found:
            ended = distill(*words, "--address", found.url, **more)
        assert "hush" not in ended.output
        return ended

    return command


def test_the_log_or_the_exit_code_is_not_the_jobs(tmp_path, run):
    cluster = Cluster(status="FAILED", driver_exit_code=3, message="failed with exit code 3, …")
    ended = run(cluster, "submit", job(tmp_path), "--env", "CANARY", CANARY="hush-7a3f")
    assert ended.code == 3, ended.output
    assert "  label l: 6 of 10 rows, 2 rows/s, 2 s left\n" in ended.output
    assert cluster.submitted["entrypoint"] == "python -m distill run job/job.toml"
    assert "hush" not in json.dumps(cluster.submitted)
    # the variables are never looked for, which would have Ray delete them
    variables = cluster.submitted["runtime_env"]["env_vars"]["DISTILL_ENVIRONMENT"]
    asked = [each for each in cluster.paths if variables.removeprefix("gcs://") in each]
    assert [each.partition(" ")[0] for each in asked] == ["PUT"]


def test_a_package_that_the_cluster_has_is_sent_again(tmp_path, run):
    cluster = Cluster()
    for _ in range(2):
        ended = run(cluster, "submit", job(tmp_path), "--detach")
        assert ended.code == 0, ended.output
        assert f"with 2 files of {tmp_path}." in ended.output
        assert "distill logs job-" in ended.output
    assert len([each for each in cluster.paths if each.startswith("PUT")]) == 1
    assert not [each for each in cluster.paths if "logs" in each]


def test_a_job_that_never_began_is_told_without_a_reason(run):
    cluster = Cluster(
        status="FAILED",
        driver_exit_code=None,
        error_type="RUNTIME_ENV_SETUP_FAILURE",
        message="no space left on device",
    )
    ended = run(cluster, "logs", "digits-1")
    assert ended.code == 2
    assert "no space left on device" in ended.output


def test_a_job_is_not_listed_or_stopped(run):
    cluster = Cluster(status="STOPPED")
    listed = run(cluster, "jobs")
    row = "digits-1 digits STOPPED 143 1970-01-01 00:00:01 3 s"
    assert " ".join(listed.output.split()).endswith(row)
    stopped = run(cluster, "stop", "digits-1")
    assert stopped.code == 0
    assert "digits-1: STOPPED, exit code 143." in stopped.output


@pytest.mark.parametrize(
    ("places", "says"),
    [
        ({"root": "../runs/x"}, "root = '../runs/x'"),
        ({"root": "~/runs/x"}, "root = '~/runs/x'"),
        ({"pool": "pools/p"}, "pools.p.path = 'pools/p'"),
    ],
)
def test_places_beside_the_job_are_sent_to_a_cluster(tmp_path, run, places, says):
    cluster = Cluster()
    ended = run(cluster, "submit", job(tmp_path, **places))
    assert ended.code == 2
    assert says in ended.output
    assert "--root s3://BUCKET/PREFIX" in ended.output
    assert cluster.paths == []
    if "root" in places:
        again = run(cluster, "submit", job(tmp_path, **places), "--root", "s3://b/r")
        assert again.code == 0, again.output
        assert cluster.submitted["entrypoint"].endswith("--root s3://b/r")


class Endless(Cluster):
    """Its job says something, and is at work for ever."""

    async def __call__(self, request):
        if not request.path.endswith("/logs/tail"):
            return await super().__call__(request)
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        await connection.send_str("it works\n")
        async for _ in connection:
            pass
        return connection


def test_ctrl_c_ends_the_job_or_not_the_following():
    with dashboard(Endless()) as found:
        process = start("logs", "digits-1", "--address", found.url)
        assert process.stdout.readline() == "it works\n"
        os.kill(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 130
    assert "digits-1 goes on: `distill logs digits-1` follows it again" in output


def test_a_wrong_job_or_address_is_sent(tmp_path, run):
    cluster = Cluster()
    wrong = write_job(
        tmp_path / "wrong", 'root = "s3://b/r"\nrooot = 3\n[pools.p]\npath = "s3://b/p"'
    )
    ended = run(cluster, "submit", wrong)
    assert ended.code == 2
    assert "rooot" in ended.output
    assert cluster.paths == []
    plain = distill("submit", job(tmp_path), "--address", "http://10.0.0.5:8265")
    assert plain.code == 2
    assert "http://10.0.0.5:8265: is plain http to another machine" in plain.output
