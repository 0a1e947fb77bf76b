"""A head node that does not answer is told at once, and when it is back."""

from __future__ import annotations

import logging
import socket
import time
from types import SimpleNamespace

import pytest

from distill.core import events
from distill.engine.ray import head
from distill.engine.ray.head import Head, watched_head
from tests.waiting import wait_until


@pytest.fixture
def seen(monkeypatch):
    monkeypatch.setattr(events, "_observers", ())
    told = []
    events.observe(told.append)
    return told


def ray_at(port, host="127.0.0.1"):
    context = SimpleNamespace(gcs_address=f"{host}:{port}")
    return SimpleNamespace(get_runtime_context=lambda: context)


def listening(port=0):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    return server


def test_a_silent_head_is_told_never_twice_or_its_return_is_not(seen, caplog):
    caplog.set_level(logging.INFO, "distill")
    server = listening()
    port = server.getsockname()[1]
    ours = Head(ray_at(port))
    ours.look()
    assert ours.answers
    assert seen == []
    server.close()
    ours.look()
    ours.look()
    assert not ours.answers
    assert [each.name for each in seen] == ["head_silent"]
    server = listening(port)
    ours.look()
    ours.look()
    assert ours.answers
    server.close()
    assert [each.name for each in seen] == ["head_silent", "head_back"]
    assert "Ray ends this command with exit code 1" in caplog.text
    assert caplog.text.count("does not answer") == caplog.text.count("answers again") == 1


def test_a_head_is_watched_when_nothing_runs_any_more(seen, monkeypatch):
    monkeypatch.setattr(head, "_LOOK_SECONDS", 0.01)
    asked = []
    monkeypatch.setattr(head, "_listens", lambda address: asked.append(address) or True)
    with watched_head(ray_at(1)):
        wait_until(lambda: len(asked) > 2)
    before = len(asked)
    time.sleep(0.1)
    assert len(asked) == before


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_a_head_with_an_address_of_ipv6_is_silent_for_ever(seen):
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on this machine's loopback")
    with server:
        ours = Head(ray_at(server.getsockname()[1], "[::1]"))
        ours.look()
    assert ours.answers
    assert seen == []
