"""A job says how its stores are reached, and no secret."""

import pytest

from distill.core.errors import JobError
from distill.plan.load import load_job
from distill.storage.open import open_storage
from distill.storage.remote import _filesystem
from distill.storage.s3 import S3Storage
from distill.storage.settings import options_of, use_settings


@pytest.fixture(autouse=True)
def _forgotten():
    yield
    use_settings({})


def job_with(folder, storage):
    file = folder / "job.toml"
    file.write_text(
        f'root = "root"\n[pools.all]\npath = "pool"\nfeatures = {{ kind = "vector", columns = ["x"] }}\n{storage}'
    )
    return file


def test_a_jobs_endpoint_is_where_its_store_is_found(s3_root, s3_server, tmp_path, monkeypatch):
    open_storage(s3_root).put("a", b"x")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    load_job(job_with(tmp_path, f'[storage.s3]\nendpoint = "{s3_server["AWS_ENDPOINT_URL"]}"\n'))
    assert open_storage(s3_root).read("a") == b"x"


def test_settings_of_one_job_are_not_those_of_the_next(tmp_path):
    load_job(job_with(tmp_path, '[storage.s3]\nrequester_pays = true\nregion = "eu-west-1"\n'))
    settings = {"client_kwargs": {"region_name": "eu-west-1"}, "requester_pays": True}
    assert options_of("s3") == settings
    first = _filesystem(S3Storage, ())
    assert first.requester_pays
    assert first.client_kwargs == settings["client_kwargs"]
    load_job(job_with(tmp_path, ""))
    assert options_of("s3") == {}
    assert not _filesystem(S3Storage, ()).requester_pays


def test_a_secret_host_of_azure_is_taken_or_repeated(tmp_path):
    with pytest.raises(JobError, match=r"storage\.abfs") as told:
        load_job(job_with(tmp_path, '[storage.abfs]\nendpoint = "u:SEKRIT@h.example"\n'))
    assert "SEKRIT" not in str(told.value)


@pytest.mark.parametrize(
    "line",
    [
        'secret = "wJalrXUtnFEMI"',
        'key = "AKIAEXAMPLE"',
        'endpoint = "http://user:wJalrXUtnFEMI@127.0.0.1:9000"',
        'endpoint = "http://127.0.0.1:9000?token=wJalrXUtnFEMI"',
    ],
)
def test_a_secret_in_a_job_is_refused_and_not_repeated(tmp_path, line):
    with pytest.raises(JobError, match=r"storage\.s3") as told:
        load_job(job_with(tmp_path, f"[storage.s3]\n{line}\n"))
    assert "wJalr" not in str(told.value)
