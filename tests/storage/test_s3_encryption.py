"""Encryption by the store: asked for, checked on each object, and a named error otherwise."""

from __future__ import annotations

import base64
import os
import uuid

import pytest

from distill.core.errors import JobError, StorageError
from distill.plan.load import load_job
from distill.spec.stores import StorageSettings
from distill.storage.open import open_storage, require_conditional_put
from distill.storage.s3_encryption import require_encrypted
from distill.storage.settings import VARIABLE, use_settings
from tests.conftest import _moto, forget_client
from tests.storage.test_settings import job_with

CANARY = b"canary in an object"
KMS = '{"sse": "aws:kms", "sse_kms_key_id": "testkey-1"}'
CUSTOMER = '{"sse_customer_key": "env:CUSTOMER_KEY"}'


@pytest.fixture(autouse=True)
def _settings(monkeypatch):
    monkeypatch.setenv("CUSTOMER_KEY", base64.b64encode(b"k" * 32).decode())
    yield
    use_settings({})
    forget_client()


def use(text):
    use_settings(StorageSettings.model_validate_json(f'{{"s3": {text}}}').options())


@pytest.fixture
def moto(monkeypatch):
    """A folder on a store that knows SSE-S3 and SSE-KMS, and takes no notice of a customer's key."""
    import boto3

    server = _moto()
    for name, value in next(server).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)  # another store's of this session
    forget_client()
    bucket = f"encrypted-{uuid.uuid4().hex[:12]}"  # moto's buckets outlive its servers
    # a session of its own: the default one keeps its credentials
    boto3.session.Session().client("s3").create_bucket(Bucket=bucket)
    yield open_storage(f"s3://{bucket}/folder")
    next(server, None)


@pytest.mark.parametrize("text", ['{"sse": "AES256"}', '{"sse": "aws:kms"}', KMS])
def test_an_object_is_written_as_if_nothing_had_been_asked(moto, text):
    use(text)
    moto.put("a", CANARY)
    assert moto.create("b", CANARY)
    assert moto.read("a") == moto.open("b").read() == CANARY


def test_a_store_that_takes_no_notice_of_a_key_gets_the_rows(moto):
    use(CUSTOMER)
    with pytest.raises(StorageError, match="SSECustomerAlgorithm = 'AES256'") as raised:
        require_conditional_put(moto)  # what a run writes first, and nothing of a pool
    assert "the store answers None" in str(raised.value)
    assert moto.list_objects() == []


def test_a_real_store_reads_an_object_without_the_customers_key(real_s3, monkeypatch):
    folder = open_storage(real_s3)
    folder.put("plain", b"of before")
    use(CUSTOMER)
    folder.put("a", CANARY)
    assert folder.put_if_absent("b", CANARY)
    assert not folder.put_if_absent("b", b"another")
    assert folder.read("a") == folder.open("b").read() == CANARY
    assert folder.entry("a").size_bytes == len(CANARY)
    assert folder.read("plain") == b"of before"
    assert folder.open("plain").read() == b"of before"
    large = os.urandom(3 << 20)
    folder.put("large", large)
    assert folder.open("large").read() == large
    monkeypatch.setenv("CUSTOMER_KEY", base64.b64encode(b"j" * 32).decode())
    forget_client()
    for ask in (
        lambda: folder.read("a"),
        lambda: folder.open("a").read(),
        lambda: folder.entry("a"),
    ):
        with pytest.raises(StorageError, match="sse_customer_key"):
            ask()
    use("{}")
    with pytest.raises(StorageError, match="sse_customer_key"):
        folder.read("a")


def test_a_real_store_encrypts_by_its_kms_unchecked(real_s3):
    folder = open_storage(real_s3)
    use(KMS)
    folder.put("a", CANARY)
    assert folder.read("a") == CANARY
    # radosgw without Vault takes AES256 for nothing, and says nothing
    use('{"sse": "AES256"}')
    with pytest.raises(StorageError, match="ServerSideEncryption = 'AES256'"):
        folder.put("b", CANARY)


@pytest.mark.parametrize(
    ("asked", "answer", "is_right"),
    [
        ({"ServerSideEncryption": "AES256"}, {"ServerSideEncryption": "AES256"}, True),
        ({"ServerSideEncryption": "aws:kms"}, {"ServerSideEncryption": "AES256"}, False),
        ({"SSEKMSKeyId": "1-2"}, {"SSEKMSKeyId": "arn:aws:kms:eu:1:key/1-2"}, True),
        ({"SSEKMSKeyId": "1-2"}, {"SSEKMSKeyId": "arn:aws:kms:eu:1:key/3-4"}, False),
        ({"SSEKMSKeyId": "alias/mine"}, {"SSEKMSKeyId": "arn:aws:kms:eu:1:key/3-4"}, True),
        ({"SSEKMSKeyId": "alias/mine"}, {}, False),
        ({}, {"ServerSideEncryption": "AES256"}, True),
    ],
)
def test_an_answer_that_says_another_encryption_passes(asked, answer, is_right):
    if is_right:
        require_encrypted(asked, answer, "s3://b/x")
        return
    with pytest.raises(StorageError, match="s3://b/x: was to be encrypted"):
        require_encrypted(asked, answer, "s3://b/x")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('sse = "AES256"\nsse_customer_key = "env:A"', "says sse and sse_customer_key"),
        ('sse_kms_key_id = "1-2"', 'is of sse = "aws:kms"'),
        ('sse_customer_key = "wJalrXUtnFEMI"', "is no reference"),
        ('sse_customer_key = "file:beside/the/job"', "give the whole path"),
    ],
)
def test_a_wrong_setting_is_found_when_something_is_written(tmp_path, line, words):
    with pytest.raises(JobError, match=words) as raised:
        load_job(job_with(tmp_path, f"[storage.s3]\n{line}\n"))
    assert "wJalrXUtnFEMI" not in str(raised.value)


def test_a_key_is_sent_to_workers(tmp_path):
    load_job(job_with(tmp_path, '[storage.s3]\nsse_customer_key = "env:CUSTOMER_KEY"\n'))
    assert "env:CUSTOMER_KEY" in os.environ[VARIABLE]
    assert os.environ["CUSTOMER_KEY"] not in os.environ[VARIABLE]


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "is missing"), (base64.b64encode(b"k" * 16).decode(), "has 16 bytes; S3 takes 32")],
)
def test_a_key_of_another_size_is_sent(monkeypatch, text, words):
    monkeypatch.setenv("CUSTOMER_KEY", text)
    use(CUSTOMER)
    with pytest.raises(JobError, match=words):
        open_storage("s3://nowhere/at-all").put("a", CANARY)
