"""Data sets of the Hugging Face hub, for reading pools: `hf://datasets/ORG/NAME@REVISION/PATH`.

A revision may move, so it is resolved to a commit once (`pinned`), and a pool's inventory stores
which: files are listed and read at that commit until the job names another revision.
huggingface_hub's filesystem lists them, with its credentials (HF_TOKEN, `hf auth login`) and its
address (HF_ENDPOINT); a listing counts as one request. They are read by ranges of
`…/resolve/COMMIT/PATH` like any other file behind https, since that filesystem's own reader asks
again by itself. A file's token is its sha256, or git's id of it where it is small.

Tested against a server on loopback that speaks what is used of the hub: the revision's commit, the
tree by pages, and `resolve` with its redirect to another host. The hub itself was out of reach.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from distill.spec.uris import HUB_DATA
from distill.storage.base import ObjectMeta, Storage
from distill.storage.http import ReadOnlyStorage, request, version
from distill.storage.lines import Answer, Lines

_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubStorage(ReadOnlyStorage):
    """Files below a path of a data set at a revision."""

    scheme = "hf"
    package = "huggingface_hub"
    extra = "hf"

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        match = HUB_DATA.fullmatch(uri)
        assert match is not None
        self._data_set = match["data_set"]
        self._revision = match["revision"]
        self._below = (match["path"] or "").strip("/")
        revision = quote(self._revision, safe="")
        root = f"{_endpoint()}/datasets/{self._data_set}/resolve/{revision}"
        self.path = f"{root}/{quote(self._below)}".rstrip("/")

    @classmethod
    def connected(cls, **options: Any) -> Any:  # noqa: ARG003
        from huggingface_hub.utils import build_hf_headers

        return Lines(headers=build_hf_headers(library_name="distill"))

    def pinned(self) -> Storage:
        if _COMMIT.fullmatch(self._revision):
            return self
        from huggingface_hub import HfApi

        def ask(_: Any) -> str:
            api = HfApi(endpoint=_endpoint())
            found = api.repo_info(self._data_set, revision=self._revision, repo_type="dataset")
            return str(found.sha)

        head = f"hf://datasets/{self._data_set}@{self._ask(self.uri, 'list', ask)}"
        return type(self)(f"{head}/{self._below}".rstrip("/"))

    def walk(self) -> Iterator[ObjectMeta]:
        from huggingface_hub import HfFileSystem

        root = f"datasets/{self._data_set}@{quote(self._revision, safe='')}"
        below = f"{root}/{self._below}".rstrip("/")

        def ask(_: Any) -> Any:
            files = HfFileSystem(endpoint=_endpoint(), skip_instance_cache=True)
            return files.find(below, detail=True)

        for name, entry in self._ask(self.uri, "list", ask).items():
            key = self._own_name if name == below else name.removeprefix(f"{below}/")
            token = entry["lfs"]["sha256"] if entry["lfs"] else entry["blob_id"]
            yield ObjectMeta(key, int(entry["size"]), token)

    def _no_place(self) -> str:
        return (
            "the hub shows no such data set or revision. Correct it, or set HF_TOKEN to one that may"
            " read it."
        )

    @property
    def _own_name(self) -> str:
        return self._below.rpartition("/")[2]

    def _path(self, key: str) -> str:
        return f"{self.path}/{quote(key)}"

    @staticmethod
    def _token(answer: Answer, url: str) -> str:  # noqa: ARG004
        return ""  # the files of a commit are never others

    def _info(self, fs: Lines, path: str) -> ObjectMeta:
        # a large file is redirected to a store with ETags of its own
        said = request(fs, "HEAD", path, redirects=0).headers
        size = said.get("X-Linked-Size") or said["Content-Length"]
        return ObjectMeta(path, int(size), version(said.get("X-Linked-Etag") or said["ETag"]))


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
