"""Values of variables reach the job, and no text that anybody logs."""

from __future__ import annotations

import json

import pytest

from distill.core.errors import JobError
from distill.engine.ray.submission.environment import VARIABLE, delete_environment, pack_environment
from distill.engine.ray.submission.package import Package
from distill.engine.ray.submission.request import job_request

PACKAGE = Package(b"", "gcs://_ray_pkg_1.zip", "job/my job.toml", 1)


def test_a_value_stands_in_what_ray_logs(monkeypatch):
    monkeypatch.setenv("CANARY", "hush")
    packed = pack_environment(["CANARY"])
    assert json.loads(packed.content) == {"CANARY": "hush"}
    assert "hush" not in repr(packed)
    request = job_request(PACKAGE, "my job", [], packed.uri)
    assert "hush" not in json.dumps(request)
    assert packed.uri in json.dumps(request)
    assert pack_environment(["CANARY"]).uri != packed.uri


def test_variables_go_along_that_nobody_names(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    request = job_request(PACKAGE, "my job", ["--root", "s3://b/r"], None)
    assert set(request["runtime_env"]) == {"working_dir", "env_vars"}
    assert set(request["runtime_env"]["env_vars"]) == {"RAY_JOB_STOP_WAIT_TIME_S"}


def test_names_with_blanks_break_the_command_or_the_id():
    request = job_request(PACKAGE, "my job/ö", ["--root", "s3://b/r d"], None)
    assert request["entrypoint"] == ("python -m distill run 'job/my job.toml' --root 's3://b/r d'")
    assert request["submission_id"].startswith("my-job-")
    assert request["metadata"] == {"distill_job": "my job/ö"}


def test_a_value_on_the_command_line_is_repeated():
    with pytest.raises(JobError, match="takes the name alone") as caught:
        pack_environment(["TOKEN=hush"])
    assert "hush" not in str(caught.value)


def test_an_unset_variable_is_sent(monkeypatch):
    monkeypatch.delenv("CANARY", raising=False)
    with pytest.raises(JobError, match="--env CANARY: is not set"):
        pack_environment(["CANARY"])


def test_a_driver_that_was_given_none_asks_ray(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    delete_environment()


def test_a_head_that_is_gone_hides_how_the_driver_ended(monkeypatch):
    import ray

    class Gone:
        def __init__(self, address):
            pass

        def internal_kv_del(self, *_, **__):
            raise ray.exceptions.RpcError("no answer")

    monkeypatch.setenv(VARIABLE, "gcs://_ray_pkg_1.zip")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr(ray._raylet, "GcsClient", Gone)
    delete_environment()
