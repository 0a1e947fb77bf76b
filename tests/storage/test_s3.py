"""What only a store behind a line can do wrong: lost answers, refused credentials, no server at
all."""

import json
import multiprocessing
import os
import re
import socket
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from distill.core.errors import JobError, StorageError
from distill.storage import retry, transfers
from distill.storage.base import ObjectMissingError
from distill.storage.open import open_storage, require_conditional_put
from distill.storage.request_counts import requests
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
def test_wrong_credentials_are_one_error_that_says_what_to_check_without_the_secret(
    real_s3, environment, call
):
    environment(AWS_ACCESS_KEY_ID="AKIANOBODY", AWS_SECRET_ACCESS_KEY=SECRET)
    before = requests()
    with pytest.raises(StorageError, match=re.escape(real_s3)) as told:
        dict(each_call(open_storage(real_s3)))[call]()
    done = requests() - before
    assert done.list + done.get + done.put == 1, "what will not pass was asked again"
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
        AWS_ACCESS_KEY_ID="",
        AWS_SECRET_ACCESS_KEY="",
        AWS_SHARED_CREDENTIALS_FILE=nowhere,
        AWS_CONFIG_FILE=nowhere,
    )
    with pytest.raises(StorageError, match="AWS_ACCESS_KEY_ID"):
        dict(each_call(open_storage(s3_root)))[call]()


def test_a_server_that_is_not_there_is_an_error_that_names_the_endpoint(
    s3_root, environment, monkeypatch
):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    environment(AWS_ENDPOINT_URL=address, AWS_ENDPOINT_URL_S3="")
    monkeypatch.setattr(retry, "LIMIT_SECONDS", 1.0)
    with pytest.raises(StorageError, match=re.escape(address)):
        open_storage(s3_root).read("a")


def test_an_upload_that_the_store_stops_taking_hangs(s3_root, environment, monkeypatch):
    monkeypatch.setattr(retry, "LIMIT_SECONDS", 0.5)
    monkeypatch.setattr(transfers, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(transfers, "SLOWEST_BYTES_PER_SECOND", 1 << 30)
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # the system answers, and nobody reads
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        environment(AWS_ENDPOINT_URL=address, AWS_ENDPOINT_URL_S3="")
        with pytest.raises(StorageError, match="did not answer"):
            open_storage(s3_root).put("a", bytes(32 << 20))


def test_a_bucket_that_does_not_exist_is_told_and_is_no_empty_folder(s3):
    store = open_storage("s3://distill-no-such-bucket/x")
    for call in (lambda: store.put("a", b"x"), lambda: store.read("a"), store.list_objects):
        with pytest.raises(StorageError, match="NoSuchBucket"):
            call()


def test_a_folder_marker_made_by_a_console_is_no_shard(s3, s3_root):
    import boto3

    bucket, prefix = s3_root.removeprefix("s3://").split("/")
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/", Body=b"")
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/sub/", Body=b"")
    store = open_storage(s3_root)
    store.put("sub/part", b"rows")
    assert [entry.key for entry in store.list_objects()] == ["sub/part"]


def test_a_listing_of_more_than_a_page_is_whole(s3_root):
    store = open_storage(s3_root)
    with ThreadPoolExecutor(16) as threads:
        list(
            threads.map(lambda number: store.put(f"commits/{number:06d}.0.json", b"x"), range(1010))
        )
    assert [entry.key for entry in store.list_objects()] == [
        f"commits/{number:06d}.0.json" for number in range(1010)
    ]


def test_a_bucket_itself_is_a_folder(s3):
    bucket = open_storage(s3)
    bucket.put("top", b"x")
    assert bucket.read("top") == b"x"
    assert "top" in [entry.key for entry in bucket.list_objects()]
    bucket.delete("top")


def test_a_folder_that_is_one_object_is_read_by_its_name(s3_root):
    open_storage(s3_root).put("part.parquet", b"rows")
    file = open_storage(f"{s3_root}/part.parquet")
    assert [(entry.key, entry.size_bytes) for entry in file.list_objects()] == [("part.parquet", 4)]
    assert file.read("part.parquet") == b"rows"
    assert file.open("part.parquet").read() == b"rows"
    with pytest.raises(ObjectMissingError):
        file.read("another")


def test_an_empty_object_is_read_and_opened(s3_root):
    store = open_storage(s3_root)
    store.put("empty", b"")
    assert store.read("empty") == b""
    assert store.open("empty").read() == b""


def test_a_file_replaced_while_it_is_read_is_an_error_and_no_mixture(s3_root):
    store = open_storage(s3_root)
    store.put("part", b"a" * 300_000)
    with store.open("part") as file:
        assert file.read(10) == b"a" * 10
        store.put("part", b"b" * 300_000)
        file.seek(50_000)
        with pytest.raises(StorageError, match="changed while it was being read"):
            file.read(10)


def test_32_threads_read_and_write_at_once(s3_root):
    store = open_storage(s3_root)

    def both(number):
        store.put(f"{number}", b"%d" % number * 1000)
        return store.read(f"{number}") == b"%d" % number * 1000

    with ThreadPoolExecutor(32) as threads:
        assert all(threads.map(both, range(320)))


def test_a_forked_child_does_not_share_its_parents_line(s3_root):
    store = open_storage(s3_root)
    contents = {f"{number}": b"%d" % number * 50_000 for number in range(8)}
    for key, content in contents.items():
        store.put(key, content)

    def read_all():
        for _ in range(5):
            assert {key: store.read(key) for key in contents} == contents

    children = [multiprocessing.get_context("fork").Process(target=read_all) for _ in range(3)]
    for child in children:
        child.start()
    read_all()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]


def test_a_deleted_object_of_a_bucket_with_versions_is_listed_or_read(s3, s3_root):
    import boto3

    client = boto3.client("s3")
    bucket = f"{s3.removeprefix('s3://')}-versions"
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store = open_storage(f"s3://{bucket}/x")
    store.put("a", b"one")
    store.put("a", b"two")
    assert store.read("a") == b"two"
    store.delete("a")
    assert store.list_objects() == []
    assert store.read_or_none("a") is None
    assert store.put_if_absent("a", b"three")
    if store.put_if_absent("a", b"four"):  # Ceph: no condition is kept where versions are
        with pytest.raises(JobError, match="without versions"):
            require_conditional_put(store)


def test_no_right_to_list_write_or_read_one_object_is_told_with_what_to_grant(real_s3):
    import boto3

    client = boto3.client("s3")
    bucket = f"denied-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)
    store = open_storage(f"s3://{bucket}/x")
    store.put("a", b"seen")
    store.put("secret", b"unseen")
    everything = f"arn:aws:s3:::{bucket}"
    denied = {
        "s3:ListBucket": everything,
        "s3:PutObject": f"{everything}/*",
        "s3:GetObject": f"{everything}/x/secret",
    }
    rules = [
        {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": resource}
        for action, resource in denied.items()
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": rules})
    client.put_bucket_policy(Bucket=bucket, Policy=policy)
    for call, where in [
        (store.list_objects, f"s3://{bucket}/x"),
        (lambda: store.put("b", b"x"), "/x/b"),
        (lambda: store.create("b", b"x"), "/x/b"),
        (lambda: store.read("secret"), "/x/secret"),
        (lambda: store.open("secret"), "/x/secret"),
    ]:
        with pytest.raises(StorageError, match=rf"{where}: who asks has no right.*Grant"):
            call()
    assert store.read("a") == store.open("a").read() == b"seen"


RENEWED = """
import datetime, json, sys
with open(sys.argv[1], "a") as asked:
    asked.write("x")
soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
keys = {{"AccessKeyId": {key!r}, "SecretAccessKey": {secret!r}, "Expiration": soon.isoformat()}}
print(json.dumps({{"Version": 1, **keys}}))
"""


def test_a_token_that_expires_in_the_middle_is_renewed_where_the_identity_can(
    real_s3, environment, tmp_path
):
    store = open_storage(real_s3)
    store.put("a", bytes(300_000))
    script = tmp_path / "identity.py"
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    script.write_text(RENEWED.format(key=key, secret=secret))
    asked = tmp_path / "asked"
    config = tmp_path / "config"
    command = f"{sys.executable} -S {script} {asked}"
    config.write_text(f"[default]\ncredential_process = {command}\n")
    environment(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_CONFIG_FILE=str(config))
    with store.open("a") as file:
        times = len(asked.read_text())
        time.sleep(1.1)
        file.seek(0)
        assert file.read(1000) == bytes(1000)
    assert store.read("a") == bytes(300_000)
    assert len(asked.read_text()) > times
