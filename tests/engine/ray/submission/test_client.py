"""What is said to a dashboard, and what becomes of its answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiohttp import web

from distill.core.errors import InputError, JobError, WorkError
from distill.engine.ray.submission import client as client_module
from distill.engine.ray.submission.client import JobClient, _exit_code
from distill.engine.ray.submission.dashboard import Dashboard


@contextmanager
def dashboard(handler, token="right") -> Iterator[Dashboard]:
    """A server whose every request goes to `handler`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = web.AppRunner(_app(handler))

    async def start():
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner.addresses[0][1]

    port = asyncio.run_coroutine_threadsafe(start(), loop).result(60)
    try:
        yield Dashboard(f"http://127.0.0.1:{port}", token, "a test")
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _app(handler):
    async def handle(request):
        return await handler(request)

    app = web.Application()
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


@pytest.mark.parametrize(("status", "says"), [(401, "asks for a token"), (403, "does not take")])
def test_a_refused_token_is_a_traceback(status, says):
    async def handler(request):
        return web.Response(status=status, text="no")

    with dashboard(handler) as found:
        with pytest.raises(JobError, match=says) as caught:
            JobClient(found).jobs()
        with pytest.raises(JobError, match=says):
            JobClient(found).follow("x", [].append)
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


class Broken:
    """A log of which the first connections send parts, and break."""

    def __init__(self, *parts):
        self.parts = list(parts)

    async def __call__(self, request):
        if not request.path.endswith("/logs/tail"):
            over = not self.parts
            details = {"status": "FAILED", "driver_exit_code": 3} if over else {}
            return web.json_response(answer(**details))
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        for text in self.parts.pop(0):
            await connection.send_str(text)
        if self.parts:
            request.transport.abort()
        return connection


def test_a_log_that_breaks_off_is_lost_or_repeated(monkeypatch):
    monkeypatch.setattr(client_module, "_PAUSE_SECONDS", 0.01)
    log = Broken(["one\n", "tw"], [], ["one\ntwo\n"], ["on", "e\ntwo\nthree\n"])
    written = []
    with dashboard(log) as found:
        ended = JobClient(found).follow("digits-1", written.append)
    assert "".join(written) == "one\ntwo\nthree\n"
    assert ended.exit_code == 3


def test_a_log_that_stays_broken_is_followed_for_ever(monkeypatch):
    monkeypatch.setattr(client_module, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(client_module, "_AWAY_SECONDS", 0.3)

    async def handler(request):
        return web.Response(status=502, text="the tunnel is gone")

    with dashboard(handler) as found, pytest.raises(WorkError, match="distill logs digits-1"):
        JobClient(found).follow("digits-1", [].append)
