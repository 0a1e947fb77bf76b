"""GETs by plain HTTP, where a store answers oddly, and where the libraries are others."""

import logging
import socket
import threading
import time
from contextlib import suppress

import pytest
from aiobotocore.httpsession import AIOHTTPSession
from fsspec.config import conf

from distill.core.errors import StorageError
from distill.storage import lines, retry, transfers
from distill.storage.open import close_stores, open_storage
from distill.storage.remote import _filesystem
from distill.storage.s3 import S3Storage
from distill.storage.settings import use_settings
from tests.waiting import slowness, wait_until

CONTENT = bytes(range(256)) * 40


class OddStore:
    """Has `CONTENT` under every key. The next of `answers` is sent in place of what is due, as it
    stands; the line ends after one without a length."""

    def __init__(self):
        self.answers = []
        self.asked = []
        """Target and headers of each request."""
        self.trickled = False
        """Whether anybody waited for the end of a trickle."""
        self._lines = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listening.close()
        for line in self._lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                line, _ = self._listening.accept()
            except OSError:
                return
            self._lines.append(line)
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line):
        with line, line.makefile("rb") as requests:
            try:
                while (first := requests.readline()) and self._answer(line, first, requests):
                    pass
            except OSError:
                return  # the client closed it

    def _answer(self, line, first, requests):
        headers = {}
        while (field := requests.readline()) not in (b"\r\n", b""):
            name, _, value = field.decode().partition(":")
            headers[name.lower()] = value.strip()
        self.asked.append((first.decode().split()[1], headers))
        answer = self.answers.pop(0) if self.answers else None
        if answer == "silence":
            return True
        if answer == "trickle":
            return self._trickle(line)
        answer = answer or due(headers.get("range"))
        line.sendall(answer)
        ends = b"Connection: close" in answer
        return not ends and (b"Content-Length" in answer or b"chunked" in answer)

    def _trickle(self, line):
        """A header of a minute, of which a byte comes now and then."""
        line.sendall(b"HTTP/1.1 200 Said\r\nx-odd: ")
        for _ in range(600):
            line.sendall(b"x")
            time.sleep(0.1)
        self.trickled = True


def due(wanted):
    if wanted is None:
        return answer(CONTENT)
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    start = int(first) if first else max(0, len(CONTENT) - int(last))
    stop = min(int(last) + 1, len(CONTENT)) if first else len(CONTENT)
    return part(start, CONTENT[start:stop])


def part(start, content):
    where = f"Content-Range: bytes {start}-{start + len(content) - 1}/{len(CONTENT)}"
    return answer(content, where, status=206)


def answer(content, *more, status=200):
    return unmeasured(content, f"Content-Length: {len(content)}", *more, status=status)


def unmeasured(content, *more, status=200):
    lines = [f"HTTP/1.1 {status} Said", 'ETag: "version-1"', *more, "", ""]
    return "\r\n".join(lines).encode() + content


def chunked(content):
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)


@pytest.fixture
def odd(monkeypatch):
    """A store, and its folder from which an object was read before."""
    store = OddStore()
    for name, value in {
        "AWS_ENDPOINT_URL": store.url,
        "AWS_ENDPOINT_URL_S3": store.url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(retry, "LIMIT_SECONDS", 5)
    close_stores()
    yield store
    store.close()
    use_settings({})
    close_stores()


@pytest.fixture
def folder(odd):
    folder = open_storage("s3://bucket/x")
    folder.read("a")
    odd.asked.clear()
    return folder


TWO_LENGTHS = f"Content-Length: {len(CONTENT)}"
WRONG = [
    pytest.param(
        answer(CONTENT, "Transfer-Encoding: chunked"), id="a length, and chunks that are none"
    ),
    pytest.param(unmeasured(CONTENT[:99], "Connection: close"), id="cut, of no length"),
    pytest.param(unmeasured(CONTENT, "Content-Length: -5"), id="negative length"),
    pytest.param(part(0, CONTENT[100:1100]), id="another range"),
    pytest.param(part(0, CONTENT[:1000]), id="the first range"),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_body_that_is_cut_or_another_is_taken_for_the_one_asked_for(odd, folder, wrong):
    with folder.open("a") as file:
        file._tail = (len(CONTENT), b"")  # as if there were more
        file.seek(100)
        odd.answers.append(wrong)
        assert file.read(1000) == CONTENT[100:1100]
    assert len(odd.asked) == 3


HUGE = 1 << 45
"""More than any machine has."""


@pytest.mark.parametrize(
    "head",
    [
        pytest.param((f"Content-Length: {HUGE}",), id="whole"),
        pytest.param(
            (f"Content-Range: bytes 0-{HUGE - 1}/{HUGE}", f"Content-Length: {HUGE}"), id="range"
        ),
    ],
)
def test_an_announced_length_is_made_room_for_before_it_comes(odd, folder, head):
    odd.answers.append(unmeasured(CONTENT, *head, "Connection: close"))
    with folder.open("a") as file:
        file._tail = (len(CONTENT), b"")  # as if there were more
        file.seek(100)
        assert file.read(1000) == CONTENT[100:1100]
    odd.answers.append(unmeasured(CONTENT, *head, "Connection: close"))
    assert folder.read("a") == CONTENT


@pytest.mark.parametrize("is_first", [True, False], ids=["by s3fs", "directly"])
def test_a_header_that_trickles_holds_a_thread_for_ever(odd, monkeypatch, is_first):
    monkeypatch.setattr(transfers, "PATIENCE_SECONDS", 1.0)
    folder = open_storage("s3://bucket/x")
    if not is_first:
        folder.read("a")
    odd.answers.append("trickle")
    odd.asked.clear()
    assert folder.read("b") == CONTENT
    assert len(odd.asked) == 2
    assert not odd.trickled


def test_an_object_that_nobody_may_read_slows_its_bucket(odd, folder):
    folder.read("b")
    denied = b"<Error><Code>AccessDenied</Code></Error>"
    odd.answers += [answer(denied, status=403)] * 2
    with pytest.raises(StorageError, match="/secret: who asks has no right to this"):
        folder.read("secret")
    odd.asked.clear()
    assert folder.read("b") == CONTENT
    assert "Signature=" in odd.asked[0][0], "s3fs was asked"


def test_an_end_that_is_not_the_end_is_taken_for_it(odd, folder):
    odd.answers.append(part(0, CONTENT[:5000]))
    assert folder.open("a").read() == CONTENT


@pytest.mark.parametrize(
    "right",
    [
        pytest.param(answer(CONTENT, TWO_LENGTHS), id="two lengths that agree"),
        pytest.param(answer(CONTENT, "Content-Encoding: gzip"), id="stored as gzip"),
        pytest.param(
            answer(CONTENT) + b"HTTP/1.1 200 Said\r\nContent-Length: 0\r\n\r\n", id="more"
        ),
    ],
)
def test_an_odd_answer_that_holds_all_is_refused_or_spoils_the_next(odd, folder, right):
    odd.answers.append(right)
    assert folder.read("a") == CONTENT
    assert folder.read("b") == CONTENT
    assert len(odd.asked) == 2


def test_chunks_beside_a_length_are_read_as_bytes_of_the_object(odd, folder):
    content = chunked(CONTENT)
    head = f"Content-Length: {len(content)}"
    odd.answers.append(unmeasured(content, head, "Transfer-Encoding: chunked"))
    assert folder.read("a") == CONTENT


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_a_signature_of_any_version_is_logged_with_an_odd_header(odd, monkeypatch, caplog, version):
    monkeypatch.setitem(conf, "s3", {"config_kwargs": {"signature_version": version}})
    caplog.set_level(logging.DEBUG, "urllib3")
    folder = open_storage("s3://bucket/x")
    folder.read("a")
    odd.answers.append(answer(CONTENT, "no header"))
    assert folder.read("a") == CONTENT
    assert "Signature=" in odd.asked[-1][0]
    assert "Signature" not in caplog.text


@pytest.mark.parametrize("key", ["a/../b", "./b", "b/."])
def test_a_key_of_dots_reads_another_object_of_a_public_bucket(odd, key):
    use_settings({"s3": {"anon": True}})
    folder = open_storage("s3://bucket/x")
    folder.read("a")
    folder.read(key)
    assert odd.asked[-1][0] == f"/bucket/x/{key}"


def test_what_each_request_is_to_say_is_left_out(odd, monkeypatch):
    monkeypatch.setitem(conf, "s3", {"s3_additional_kwargs": {"ExpectedBucketOwner": "123"}})
    folder = open_storage("s3://bucket/x")
    folder.read("a")
    folder.read("a")
    assert [headers["x-amz-expected-bucket-owner"] for _, headers in odd.asked] == ["123", "123"]


def test_another_version_of_aiobotocore_ends_reading(odd, monkeypatch, caplog):
    # an older one builds them elsewhere
    monkeypatch.setattr(AIOHTTPSession, "_create_connector", _create_connector)
    monkeypatch.delattr(AIOHTTPSession, "_build_ssl_contexts")
    caplog.set_level(logging.INFO, "distill")
    folder = open_storage("s3://bucket/x")
    for _ in range(3):
        assert folder.read("a") == CONTENT
    assert caplog.text.count("read by s3fs alone") == 1
    assert "_build_ssl_contexts" in caplog.text


async def _create_connector(session, _proxy_url):
    from aiohttp import TCPConnector

    return TCPConnector(limit=session._max_pool_connections)


def test_a_silent_store_holds_up_the_end(odd, folder, monkeypatch):
    monkeypatch.setattr(transfers, "_ENDING_SECONDS", 0.2)
    file = folder.open("a")
    odd.asked.clear()
    odd.answers += ["silence"] * 2
    reading = threading.Thread(target=_read_in_vain, args=(file,), daemon=True)
    reading.start()
    wait_until(lambda: len(odd.asked) == 2)
    began = time.monotonic()
    close_stores()
    assert time.monotonic() - began < 10 * slowness()
    odd.close()
    reading.join()


def _read_in_vain(file):
    with suppress(StorageError):
        file._fetch([(0, 100), (5000, 5100)])


def test_a_line_that_a_firewall_forgot_is_taken_again(odd, folder):
    folder.read("a")
    pool = _filesystem(S3Storage, ()).direct._lines.pools.connection_from_url(odd.url)
    line = pool._get_conn()
    assert line.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    if hasattr(socket, "TCP_KEEPIDLE"):
        seconds = line.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        assert seconds == lines._PROBES["TCP_KEEPIDLE"]
    pool._put_conn(line)


def test_who_waits_for_what_never_began_waits_for_ever(odd, folder, monkeypatch):
    monkeypatch.setattr(transfers, "_ENDING_SECONDS", 0.2)
    monkeypatch.setattr(transfers, "CONNECTIONS", 2)
    close_stores()
    folder.read("a")
    file = folder.open("a")
    odd.asked.clear()
    odd.answers += ["silence"] * 2
    ranges = [(start, start + 100) for start in range(0, 10_000, 2_000)]
    errors = []
    reading = threading.Thread(target=_read_closed, args=(file, ranges, errors), daemon=True)
    reading.start()
    wait_until(lambda: len(odd.asked) == 2)
    close_stores()
    odd.close()
    wait_until(lambda: not reading.is_alive())
    assert len(errors) == 1


def _read_closed(file, ranges, errors):
    try:
        file._fetch(ranges)
    except StorageError as error:
        errors.append(error)
