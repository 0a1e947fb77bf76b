"""GETs by plain HTTP: the same bytes and errors as by s3fs, which is asked where this way ends."""

import io
import logging
import os
import shutil
import ssl
import subprocess
import time

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import StorageError
from distill.pools.formats.registry import read_rows
from distill.storage import retry
from distill.storage.base import ObjectMissingError
from distill.storage.direct import _REFUSED_SECONDS
from distill.storage.open import open_storage
from distill.storage.remote import _filesystem
from distill.storage.request_counts import requests
from distill.storage.s3 import S3Storage
from distill.storage.settings import use_settings
from tests.conftest import forget_client
from tests.faulty_store import Fault, FaultyStore

CONTENT = os.urandom(300_000)


@pytest.fixture
def store(s3_root):
    """A folder of a bucket that was read before."""
    forget_client()
    store = open_storage(s3_root)
    store.put("a", CONTENT)
    store.read("a")
    yield store
    use_settings({})
    forget_client()


@pytest.fixture
def by_s3fs(store, monkeypatch):
    """What s3fs is asked for from now on."""
    asked = []
    filesystem = _filesystem(S3Storage, ())
    call = filesystem._call_s3

    async def called(name, **options):
        asked.append(name)
        return await call(name, **options)

    monkeypatch.setattr(filesystem, "_call_s3", called)
    return asked


@pytest.mark.parametrize("key", ["a/b.c~d", "ä ö+%20&=?versionId=1"])
def test_any_object_is_read_whole_and_by_ranges_without_s3fs(store, by_s3fs, key):
    store.put(key, CONTENT)
    before = requests()
    assert store.read(key) == CONTENT
    with store.open(key) as file:
        file.prefetch([(0, 10_000), (200_000, 210_000)])
        assert file.read(10_000) == CONTENT[:10_000]
        file.seek(50_000)
        assert file.read(90_000) == CONTENT[50_000:140_000]
        file.seek(-5, io.SEEK_END)
        assert file.read() == CONTENT[-5:]
    done = requests() - before
    assert done.get == 5
    assert by_s3fs == ["put_object"]


def test_what_is_missing_empty_or_changed_is_told_at_the_first_request(store, by_s3fs):
    store.put("empty", b"")
    assert store.read("empty") == store.open("empty").read() == b""
    before = requests()
    with pytest.raises(ObjectMissingError, match="/b is not there"):
        store.read("b")
    assert (requests() - before).get == 1
    with store.open("a") as file:
        store.put("a", CONTENT[::-1])
        with pytest.raises(StorageError, match="changed while it was being read"):
            file.read(10)
    assert set(by_s3fs) == {"put_object"}


def test_an_address_that_is_refused_slows_its_bucket_for_ever(real_s3, monkeypatch):
    forget_client()
    store = open_storage(real_s3)
    store.put("a", CONTENT)
    store.read("a")
    store.read("a")
    direct = _filesystem(S3Storage, ()).direct
    path = store._path("a")
    signed, url = direct._signed[path]
    direct._signed[path] = (signed, f"{url}0")
    before = requests()
    with store.open("a") as file:
        assert file.read() == CONTENT
    assert (requests() - before).get == 3
    assert path not in direct._signed, "it was not read by s3fs while the bucket refuses"
    monkeypatch.setattr(time, "monotonic", lambda: signed + 100 + _REFUSED_SECONDS)
    assert store.read("a") == CONTENT
    assert path in direct._signed
    forget_client()


def test_no_signature_stands_in_an_error_or_a_log(store, s3, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG, "urllib3")
    with FaultyStore(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        monkeypatch.setattr(retry, "LIMIT_SECONDS", 0.3)
        forget_client()
        store.read("a")
        for fault in ("503", "reset_before", "truncated"):
            proxy.faulty(Fault(fault, "GET"))
            with pytest.raises(StorageError, match="/a: the store did not answer") as raised:
                store.read("a")
            assert "Signature" not in str(raised.value)
            assert "X-Amz" not in str(raised.value)
    assert "X-Amz" not in caplog.text


def test_a_public_bucket_is_read_unsigned(real_s3, monkeypatch):
    bucket, _, prefix = real_s3.removeprefix("s3://").partition("/")
    boto3.client("s3").put_object(
        Bucket=bucket, Key=f"{prefix}/open", Body=CONTENT, ACL="public-read"
    )
    use_settings({"s3": {"anon": True}})
    store = open_storage(real_s3)
    for _ in range(2):
        assert store.read("open") == CONTENT
    ((_, url),) = _filesystem(S3Storage, ()).direct._signed.values()
    assert "?" not in url
    use_settings({})
    forget_client()


@pytest.fixture
def certificate(tmp_path):
    """Of 127.0.0.1, signed by itself."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs openssl")
    key, file = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=store", "-addext", "subjectAltName=IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    output = ["-nodes", "-days", "2", "-keyout", key, "-out", file]
    subprocess.run(
        [program, "req", "-x509", *curve, *output, *subject], check=True, capture_output=True
    )
    return file, key


def test_a_store_behind_tls_is_read_by_those_who_trust_it(store, certificate, monkeypatch):
    with FaultyStore(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        proxy._server.socket = context.wrap_socket(proxy._server.socket, server_side=True)
        url = proxy.url.replace("http:", "https:")
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate[0]))
        forget_client()
        for _ in range(2):
            assert store.read("a") == CONTENT
        direct = _filesystem(S3Storage, ()).direct
        assert direct._signed, "s3fs read it, so this test shows nothing"
        direct._lines.pools.clear()
        # the lines are of a client that trusted it
        monkeypatch.delenv("AWS_CA_BUNDLE")
        forget_client()
        with pytest.raises(StorageError, match="CERTIFICATE_VERIFY_FAILED"):
            store.read("a")


def test_pages_are_decoded_from_where_they_came(store):
    table = pa.table({"x": list(range(60_000)), "y": [f"row {row}" for row in range(60_000)]})
    content = io.BytesIO()
    pq.write_table(table, content, row_group_size=30_000)
    store.put("rows.parquet", content.getvalue())
    rows = range(10_000, 50_000)
    read = read_rows(store, "rows.parquet", rows, ["x", "y"], format="parquet").table
    assert read.to_pydict() == table.slice(10_000, 40_000).to_pydict()
