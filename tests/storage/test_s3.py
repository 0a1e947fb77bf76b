"""What only a store behind a line can do wrong: lost answers, refused credentials, no server at all."""

import os
import re
import socket
import threading
import urllib.parse
from contextlib import contextmanager, suppress

import pytest

from distill.errors import StorageError
from distill.storage import open_storage
from tests.conftest import forget_client

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


@pytest.fixture
def environment(monkeypatch):
    """Sets variables for this test alone, and lets the client read them."""

    def set_to(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
        forget_client()

    yield set_to
    monkeypatch.undo()
    forget_client()


def each_call(store):
    yield "list", store.list_objects
    yield "read", lambda: store.read("a/b")
    yield "open", lambda: store.open("a/b").read()
    yield "put", lambda: store.put("a/b", b"x")
    yield "put_if_absent", lambda: store.put_if_absent("a/b", b"x")


@pytest.mark.parametrize("call", ["list", "read", "open", "put", "put_if_absent"])
def test_wrong_credentials_are_one_error_that_says_what_to_check_without_the_secret(real_s3, environment, call):
    environment(AWS_ACCESS_KEY_ID="AKIANOBODY", AWS_SECRET_ACCESS_KEY=SECRET)
    with pytest.raises(StorageError, match=re.escape(real_s3)) as told:
        dict(each_call(open_storage(real_s3)))[call]()
    assert "AWS_ACCESS_KEY_ID" in str(told.value)
    assert SECRET not in str(told.value)


def test_a_wrong_secret_is_not_shown(real_s3, environment):
    environment(AWS_SECRET_ACCESS_KEY=SECRET)
    with pytest.raises(StorageError, match="AWS_ACCESS_KEY_ID") as told:
        open_storage(real_s3).list_objects()
    assert SECRET not in str(told.value)


@pytest.mark.parametrize("call", ["list", "read", "put_if_absent"])
def test_no_credentials_at_all_are_told_like_wrong_ones(s3_root, environment, tmp_path, call):
    nowhere = str(tmp_path / "none")
    environment(
        AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_SHARED_CREDENTIALS_FILE=nowhere, AWS_CONFIG_FILE=nowhere
    )
    with pytest.raises(StorageError, match="AWS_ACCESS_KEY_ID"):
        dict(each_call(open_storage(s3_root)))[call]()


def test_a_server_that_is_not_there_is_an_error_that_names_the_endpoint(s3_root, environment):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    environment(AWS_ENDPOINT_URL=address, AWS_ENDPOINT_URL_S3="", AWS_MAX_ATTEMPTS="1")
    with pytest.raises(StorageError, match=re.escape(address)):
        open_storage(s3_root).read("a")


def test_a_bucket_that_does_not_exist_is_told_by_a_write(s3):
    with pytest.raises(StorageError, match="NoSuchBucket"):
        open_storage("s3://distill-no-such-bucket/x").put("a", b"x")


def test_a_folder_marker_made_by_a_console_is_no_shard(s3, s3_root):
    import boto3

    bucket, prefix = s3_root.removeprefix("s3://").split("/")
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/", Body=b"")
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/sub/", Body=b"")
    store = open_storage(s3_root)
    store.put("sub/part", b"rows")
    assert [entry.key for entry in store.list_objects()] == ["sub/part"]


def test_a_listing_of_more_than_a_page_is_whole(s3_root):
    from concurrent.futures import ThreadPoolExecutor

    store = open_storage(s3_root)
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda number: store.put(f"commits/{number:06d}.0.json", b"x"), range(1010)))
    assert [entry.key for entry in store.list_objects()] == [f"commits/{number:06d}.0.json" for number in range(1010)]


def test_a_kept_put_whose_answer_is_lost_is_won_by_its_own_writer(s3_root, environment):
    """The store keeps the object, then the line breaks; s3fs tries again by itself and meets its own object."""
    with line_that_loses_one_answer() as (address, lost):
        environment(AWS_ENDPOINT_URL=address, AWS_ENDPOINT_URL_S3=address)
        store = open_storage(s3_root)
        assert store.put_if_absent("commits/1", b"mine")
    assert lost, "no answer was lost, so this test shows nothing"
    assert lost[0].startswith(b"HTTP/1.1 200")


def test_a_kept_put_of_anothers_is_lost_even_if_the_answer_was_lost_too(s3_root, environment):
    assert open_storage(s3_root).put_if_absent("commits/1", b"another's")
    with line_that_loses_one_answer() as (address, lost):
        environment(AWS_ENDPOINT_URL=address, AWS_ENDPOINT_URL_S3=address)
        assert not open_storage(s3_root).put_if_absent("commits/1", b"mine")
    assert lost


@contextmanager
def line_that_loses_one_answer():
    """A port that passes everything to the real server, but cuts the line in place of the first answer to a conditional put."""
    server = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    lost: list[bytes] = []

    def carry(client):
        with client, socket.create_connection((server.hostname, server.port)) as upstream:
            asked = bytearray()
            threading.Thread(target=pump, args=(client, upstream, asked), daemon=True).start()
            while answer := upstream.recv(1 << 16):
                conditional = asked.startswith(b"PUT") and b"if-none-match" in asked.lower()
                if conditional and not lost and not answer.startswith(b"HTTP/1.1 100"):
                    lost.append(answer)
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(answer)

    def pump(client, upstream, asked):
        with suppress(OSError):
            while some := client.recv(1 << 16):
                asked[:] = some if some.startswith((b"PUT", b"GET", b"HEAD")) else asked + some
                upstream.sendall(some)

    def accept():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=carry, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", lost
        listener.shutdown(socket.SHUT_RDWR)
