"""What is said to a dashboard, and what becomes of its answers."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from distill.core.errors import InputError, JobError
from distill.engine.ray.submission.client import JobClient, _exit_code
from distill.engine.ray.submission.dashboard import Dashboard
from distill.engine.ray.submission.follow import follow_job
from tests.command import distill
from tests.waiting import LIMIT_SECONDS


@contextmanager
def dashboard(handler, token="right", tls=None) -> Iterator[Dashboard]:
    """A server whose every request goes to `handler`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = web.AppRunner(_app(handler))

    async def start():
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        return runner.addresses[0][1]

    port = asyncio.run_coroutine_threadsafe(start(), loop).result(LIMIT_SECONDS)
    try:
        scheme = "https" if tls else "http"
        yield Dashboard(f"{scheme}://127.0.0.1:{port}", token, "a test")
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(LIMIT_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _app(handler):
    async def handle(request):
        return await handler(request)

    app = web.Application(client_max_size=100 << 20)
    app.router.add_route("*", "/{path:.*}", handle)
    return app


def answer(**more):
    details = {
        "submission_id": "digits-1",
        "status": "RUNNING",
        "start_time": 1_000,
        "metadata": {"distill_job": "digits"},
    }
    return {**details, **more}


@pytest.mark.parametrize(
    ("details", "code"),
    [
        ({"status": "PENDING"}, None),
        ({"status": "RUNNING"}, None),
        ({"status": "SUCCEEDED", "driver_exit_code": 0}, 0),
        ({"status": "SUCCEEDED"}, 0),
        ({"status": "FAILED", "driver_exit_code": 1}, 1),
        ({"status": "FAILED", "driver_exit_code": 2}, 2),
        ({"status": "FAILED", "driver_exit_code": 3}, 3),
        ({"status": "FAILED", "driver_exit_code": 130}, 130),
        ({"status": "FAILED", "driver_exit_code": -9}, 137),
        ({"status": "FAILED"}, 1),
        ({"status": "FAILED", "error_type": "RUNTIME_ENV_SETUP_FAILURE"}, 2),
        ({"status": "STOPPED"}, 143),
    ],
)
def test_the_exit_code_is_not_the_drivers(details, code):
    assert _exit_code(details) == code


def test_a_redirect_is_followed_with_the_token():
    seen = []

    async def handler(request):
        seen.append(request.path)
        raise web.HTTPTemporaryRedirect("/elsewhere")

    with dashboard(handler) as found, pytest.raises(InputError, match="answers 307"):
        JobClient(found).submit({"entrypoint": "x"})
    assert seen == ["/api/jobs/"]


def test_a_proxy_is_asked_or_netrc_replaces_the_token(monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    # what Ray's own client would speak to instead
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    seen = []

    async def handler(request):
        seen.append(request.headers.get("Authorization"))
        return web.json_response({"ray_version": "2.60.0"})

    with dashboard(handler) as found:
        assert JobClient(found).ray_version() == "2.60.0"
    assert seen == ["Bearer right"]


def certificate(folder):
    """A certificate that this machine gives itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(timezone.utc)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    (folder / "certificate.pem").write_bytes(made.public_bytes(pem))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


def test_a_token_goes_to_a_certificate_that_nobody_signed(tmp_path):
    seen = []

    async def handler(request):
        seen.append(request.headers["Authorization"])
        return web.json_response([answer()])

    with dashboard(handler, tls=certificate(tmp_path)) as found:
        with pytest.raises(InputError, match="certificate verify failed"):
            JobClient(found).jobs()
        assert seen == []
        # whose authority is no public one
        known = {"SSL_CERT_FILE": str(tmp_path / "certificate.pem"), "RAY_AUTH_TOKEN": "right"}
        ended = distill("jobs", "--address", found.url, cold=True, **known)
        assert ended.code == 0, ended.output
        assert "digits-1" in ended.output
    assert seen == ["Bearer right"]


@pytest.mark.parametrize(("status", "says"), [(401, "asks for a token"), (403, "does not take")])
def test_a_refused_token_is_a_traceback(status, says):
    async def handler(request):
        return web.Response(status=status, text="no")

    with dashboard(handler) as found:
        with pytest.raises(JobError, match=says) as caught:
            JobClient(found).jobs()
        with pytest.raises(JobError, match=says):
            follow_job(JobClient(found), "x", [].append)
    assert "right" not in str(caught.value)


def test_nobody_at_the_address_is_a_traceback():
    with pytest.raises(InputError, match=r"no dashboard answers at http://127\.0\.0\.1:9"):
        JobClient(Dashboard("http://127.0.0.1:9", "", "")).jobs()


def test_an_unknown_job_is_a_traceback():
    async def handler(request):
        return web.Response(status=404, text="no")

    with dashboard(handler) as found:
        for ask in (JobClient(found).job, JobClient(found).stop):
            with pytest.raises(JobError, match=r"knows of no 'digits-1'.*submit again"):
                ask("digits-1")


def test_jobs_that_other_drivers_began_are_listed():
    async def handler(request):
        return web.json_response([answer(start_time=5_000), answer(submission_id=None), answer()])

    with dashboard(handler) as found:
        jobs = JobClient(found).jobs()
    assert [each.began for each in jobs] == [1.0, 5.0]
    assert {each.job for each in jobs} == {"digits"}


def test_variables_are_stored_so_that_ray_deletes_them_under_the_job():
    # Ray holds a package for ten minutes from when somebody looked for it, and then deletes what no
    # job needs as a package
    seen = []

    async def handler(request):
        seen.append((request.method, request.path, await request.read()))
        return web.Response()

    with dashboard(handler) as found:
        JobClient(found).store("gcs://_ray_pkg_1.zip", b"values")
    assert seen == [("PUT", "/api/packages/gcs/_ray_pkg_1.zip", b"values")]
