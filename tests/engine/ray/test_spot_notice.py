"""A cloud's notice is seen and handed on, by a server on loopback that says what its metadata
says."""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from distill.engine.ray import spot_notice
from distill.engine.ray.spot_notice import AwsNotice, GcpNotice, await_notice


@contextlib.contextmanager
def metadata(answer):
    """A server; `answer(method, path, headers)` returns status and text."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, text = answer(self.command, self.path, self.headers)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        do_PUT = do_GET  # noqa: N815  as it is asked for

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Aws:
    """Says that the instance ends in two minutes, from the third time on that it is asked."""

    def __init__(self):
        self.tokens = 0
        self.asked = 0

    def __call__(self, method, path, headers):
        if path == "/latest/api/token":
            assert method == "PUT"
            assert headers["X-aws-ec2-metadata-token-ttl-seconds"]
            self.tokens += 1
            return 200, f"token{self.tokens}"
        assert path == "/latest/meta-data/spot/instance-action"
        self.asked += 1
        if self.asked == 1:
            return 404, ""
        if headers["X-aws-ec2-metadata-token"] != "token2":
            return 401, ""
        until = datetime.now(timezone.utc) + timedelta(minutes=2)
        return 200, f'{{"action": "terminate", "time": "{until:%Y-%m-%dT%H:%M:%SZ}"}}'


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(spot_notice, "_POLL_SECONDS", 0.01)
    # a proxy would be asked for another machine's metadata
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")


def test_the_notice_of_aws_is_missed_or_seen_before_it_came():
    aws = Aws()
    with metadata(aws) as url:
        assert 115 < await_notice(AwsNotice(url)) <= 120
    # a token that ran out is replaced
    assert (aws.tokens, aws.asked) == (2, 3)


def test_the_notice_of_google_is_missed_or_seen_before_it_came():
    said = []

    def google(method, path, headers):
        assert path == "/computeMetadata/v1/instance/preempted"
        assert headers["Metadata-Flavor"] == "Google"
        said.append(path)
        return 200, "FALSE" if len(said) < 3 else "TRUE"

    with metadata(google) as url:
        assert await_notice(GcpNotice(url)) == 30
    assert len(said) == 3


def test_metadata_that_fails_once_ends_the_watch():
    answers = iter([(500, ""), (200, "no JSON"), (404, "")])
    aws = Aws()

    def failing(method, path, headers):
        if path == "/latest/api/token":
            return aws(method, path, headers)
        return next(answers, None) or aws(method, path, headers)

    with metadata(failing) as url:
        assert await_notice(AwsNotice(url)) > 0


def test_a_machine_that_is_in_no_cloud_is_drained():
    with pytest.raises(OSError, match="refused"):
        AwsNotice("http://127.0.0.1:9")()


def test_a_raylet_that_ended_is_waited_for_on():
    began = time.monotonic()
    assert spot_notice.await_end(("127.0.0.1", 9), 600)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("words", [[], ["--cloud", "azure"], ["--now", "--cloud", "aws"]])
def test_wrong_options_drain_a_node(words):
    with pytest.raises(SystemExit) as ended:
        spot_notice.main(words)
    assert ended.value.code == 2
