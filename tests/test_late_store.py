"""The line that delivers late: whole, and late by as much as it was told."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

from distill.storage.open import open_storage
from tests.conftest import forget_client
from tests.late_store import late_store
from tests.waiting import slowness


def test_answers_come_late_whole_and_side_by_side(s3, s3_root, monkeypatch):
    content = os.urandom(3 << 20)
    with late_store(os.environ["AWS_ENDPOINT_URL"], 0.2) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        forget_client()
        store = open_storage(s3_root)
        store.put("a", content)
        began = time.monotonic()
        assert store.read("a") == content
        assert time.monotonic() - began >= 0.2
        store.put("small", content[:100])
        began = time.monotonic()
        with ThreadPoolExecutor(16) as threads:
            assert set(threads.map(store.read, ["small"] * 16)) == {content[:100]}
        took = time.monotonic() - began
        assert took < 16 * 0.2 * slowness(), "one waited for another"
    monkeypatch.undo()
    forget_client()
