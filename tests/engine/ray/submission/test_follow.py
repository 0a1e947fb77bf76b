"""A log reaches its reader whole and once, whatever the line does."""

from __future__ import annotations

import pytest
from aiohttp import web

from distill.core.errors import WorkError
from distill.engine.ray.submission import follow
from distill.engine.ray.submission.client import JobClient
from distill.engine.ray.submission.follow import follow_job
from tests.engine.ray.submission.test_client import answer, dashboard
from tests.waiting import LIMIT_SECONDS


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
    monkeypatch.setattr(follow, "_PAUSE_SECONDS", 0.01)
    log = Broken(["one\n", "tw"], [], ["one\ntwo\n"], ["on", "e\ntwo\nthree\n"])
    written = []
    with dashboard(log) as found:
        ended = follow_job(JobClient(found), "digits-1", written.append)
    assert "".join(written) == "one\ntwo\nthree\n"
    assert ended.exit_code == 3


def test_a_heartbeat_without_an_answer_is_a_line_of_the_log(monkeypatch):
    """Or as many letters of the log are taken for known."""
    monkeypatch.setattr(follow, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(follow, "_HEARTBEAT_SECONDS", 0.2)
    connections = []

    async def handler(request):
        if not request.path.endswith("/logs/tail"):
            return web.json_response(answer(status="SUCCEEDED"))
        first = not connections
        connections.append(request)
        connection = web.WebSocketResponse(autoping=not first)
        await connection.prepare(request)
        await connection.send_str("one\n")
        if first:
            await connection.receive()  # the ping, which nobody answers
            monkeypatch.setattr(follow, "_HEARTBEAT_SECONDS", LIMIT_SECONDS)
            await connection.receive()  # until it is given up
            return connection
        await connection.send_str("two\n")
        return connection

    written = []
    with dashboard(handler) as found:
        follow_job(JobClient(found), "digits-1", written.append)
    assert "".join(written) == "one\ntwo\n"
    assert len(connections) == 2


def test_a_log_that_stays_broken_is_followed_for_ever(monkeypatch):
    monkeypatch.setattr(follow, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(follow, "_AWAY_SECONDS", 0.3)

    async def handler(request):
        return web.Response(status=502, text="the tunnel is gone")

    with dashboard(handler) as found, pytest.raises(WorkError, match="distill logs digits-1"):
        follow_job(JobClient(found), "digits-1", [].append)
