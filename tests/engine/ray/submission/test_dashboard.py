"""A token leaves this machine only where nobody reads it on the way."""

from __future__ import annotations

import pytest

from distill.core.errors import JobError
from distill.engine.ray.submission.dashboard import find_dashboard


@pytest.fixture(autouse=True)
def _no_token(monkeypatch, tmp_path):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://127.0.0.1:8265", "http://127.0.0.1:8265"),
        ("http://127.0.0.1:8265/", "http://127.0.0.1:8265"),
        ("127.3.2.1:8265", "http://127.3.2.1:8265"),
        ("localhost:8265", "http://localhost:8265"),
        ("http://[::1]:8265", "http://[::1]:8265"),
        ("https://ray.example.com", "https://ray.example.com"),
        ("https://10.0.0.5:8443/clusters/a/", "https://10.0.0.5:8443/clusters/a"),
    ],
)
def test_loopback_or_tls_is_refused(address, url):
    assert find_dashboard(address).url == url


@pytest.mark.parametrize(
    "address",
    [
        "http://10.0.0.5:8265",
        "10.0.0.5:8265",
        "http://head.example.com:8265",
        "http://localhost.example.com:8265",
        "http://127.0.0.1.example.com",
        "http://0.0.0.0:8265",
        "http://[::]:8265",
        "http://2130706433:8265",
        "http://0177.0.0.1:8265",
        "HTTP://10.0.0.5",
        "http://127.0.0.1\\.example.com",
    ],
)
def test_plain_http_to_another_machine_is_spoken(address):
    with pytest.raises(JobError, match=r"plain http to another machine.*nothing was sent.*tunnel"):
        find_dashboard(address)


@pytest.mark.parametrize(
    "address", ["ray://127.0.0.1:10001", "ftp://127.0.0.1", "http://", "http://127.0.0.1:port", ""]
)
def test_what_is_no_dashboard_is_taken_for_one(address):
    with pytest.raises(JobError, match="no address of a dashboard"):
        find_dashboard(address)


def test_a_password_in_an_address_is_repeated():
    with pytest.raises(JobError) as caught:
        find_dashboard("https://me:hush@ray.example.com")
    assert "hush" not in str(caught.value)


def test_another_token_is_found_than_ray_finds(monkeypatch, tmp_path):
    assert find_dashboard("localhost:1").token == ""
    usual = tmp_path / ".ray" / "auth_token"
    usual.parent.mkdir()
    usual.write_text("usual\n")
    assert find_dashboard("localhost:1").token == "usual"
    named = tmp_path / "named"
    named.write_text("named")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(named))
    assert find_dashboard("localhost:1").token == "named"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    assert find_dashboard("localhost:1").token == "given"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert find_dashboard("localhost:1").token == ""


def test_a_token_is_shown(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "hush")
    assert "hush" not in repr(find_dashboard("localhost:1"))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "hush\nX-Other: 1")
    with pytest.raises(JobError, match="RAY_AUTH_TOKEN") as caught:
        find_dashboard("localhost:1")
    assert "hush" not in str(caught.value)


def test_a_token_file_that_is_not_there_is_passed_over(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "gone"))
    with pytest.raises(JobError, match=r"RAY_AUTH_TOKEN_PATH = .*gone.*No such file"):
        find_dashboard("localhost:1")
