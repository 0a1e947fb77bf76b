"""A path means the same from whatever folder the command is run."""

from pathlib import Path

import pytest

from distill.spec.uris import is_remote, resolve_uri


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("pool/", "/jobs/here/pool"),
        ("../pool", "/jobs/pool"),
        ("/data/pool/", "/data/pool"),
        ("file:///data/pool/", "/data/pool"),
        ("s3://bucket/pool/", "s3://bucket/pool"),
        ("s3://bucket", "s3://bucket"),
    ],
)
def test_a_path_resolves_against_the_job_file_and_not_the_current_folder(
    path, expected, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert resolve_uri(path, Path("/jobs/here")) == expected


def test_a_job_file_named_relatively_resolves_absolutely(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_uri("pool", Path("sub")) == str(tmp_path / "sub" / "pool")


@pytest.mark.parametrize(
    ("uri", "remote"),
    [("a/b", False), ("/a/b", False), ("file:///a", False), ("s3://bucket/a", True)],
)
def test_a_local_folder_is_not_taken_for_one_that_all_machines_see(uri, remote):
    assert is_remote(uri) is remote
