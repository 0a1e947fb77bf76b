"""Objects behind a URI: the only module that knows one store from another.

A `Storage` is a folder of objects. Keys are relative, with forward slashes. `put` writes whole
objects under keys that nobody else uses; readers see all of it or nothing. `put_if_absent`, on which
the exactly-once protocol of `distill.labels` rests, writes small ones that must win a race. It
returns whether the stored object is *this* writer's: a lost line or a 412 is settled by reading what
is there, because a store may keep the put and lose the answer.

Objects whose name, or a folder of theirs, starts with `_` or `.` are nobody's rows (`is_hidden`).
"""

from __future__ import annotations

import gc
import sys
import uuid
from importlib import import_module
from urllib.parse import urlsplit

from distill.core.errors import JobError
from distill.spec.uris import is_remote, wrong_uri
from distill.storage.base import NotImplementedByStoreError, Storage
from distill.storage.local import LocalStorage

_REMOTE = {
    "s3": ("s3", "S3Storage"),
    "gs": ("gcs", "GcsStorage"),
    "abfs": ("azure", "AzureStorage"),
    "hf": ("hub", "HubStorage"),
    "http": ("http", "HttpStorage"),
    "https": ("http", "HttpStorage"),
}
"""Module and class of each scheme's store. A local job loads none of them."""


def require_conditional_put(root: Storage) -> None:
    """Refuse a store that lets two writers of one key both win; exactly-once rests on it. Raises
    JobError."""
    key = f"_probe/{uuid.uuid4().hex}"
    try:
        created = root.create(key, b"first")
        created_again = root.create(key, b"second")
        is_first = root.read_or_none(key) == b"first"
    except NotImplementedByStoreError:
        created = False
    finally:
        root.delete(key)
    if not created or created_again or not is_first:
        raise JobError(
            f"{root.uri} has no conditional put (If-None-Match), which commits need. Keep the root"
            " on another store, or in a bucket without versions (Ceph's with versions have none)."
        )


def open_storage(uri: str) -> Storage:
    """Return the folder at `uri`: a path, `file://…`, `s3://bucket/prefix`, `gs://…`,
    `abfs://container/…`, or for reading alone `hf://datasets/…` or `http(s)://…`. Nothing is read
    or made yet.

    Raises JobError for another scheme, or for credentials written into the URI.
    """
    wrong = wrong_uri(uri)
    if wrong:
        raise JobError(wrong)
    parts = urlsplit(uri)
    if not is_remote(uri):
        return LocalStorage(parts.path if parts.scheme else uri)
    module, name = _REMOTE[parts.scheme]
    store: Storage = getattr(import_module(f"distill.storage.{module}"), name)(uri.rstrip("/"))
    return store


def close_stores() -> None:
    """Close this process's lines to all stores; whoever asks again opens others."""
    remote = sys.modules.get("distill.storage.remote")
    if remote is not None:
        remote.forget_filesystems()
        # filesystems close their lines when they are collected, and they lie in circles
        gc.collect()
