"""The footers of new files, kept under the root until the inventory that they are for is written.

A pool of 100,000 new files takes minutes to read, and a segment of its inventory is claimed only
when all of them are known to be readable and of one schema. So that a run which is killed before
does not read them twice, footers are stored as they are read, some hundreds at a time:
`<root>/footers/<pool>/<files and format>/<digest>.json`. An object is never changed; it names files
by their shard ids, so that the footer of a file that was replaced meanwhile is nobody's. Several
drivers may write, read and delete them at once: whoever misses one reads that footer again. What
the inventory says depends on none of this.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from distill.core.errors import StorageError
from distill.core.schema import digest, seal, unseal
from distill.pools.formats.shard_file import Footer
from distill.pools.shard_id import shard_id
from distill.storage.base import ObjectMeta, Storage

log = logging.getLogger(__name__)

_THREADS = 16

FileStats = Footer | str  # what a file says of its rows and columns, or what is wrong with it
# (files, their stats) → stored, of those that could be read. It travels to workers.
SaveFooters = Callable[[Sequence[ObjectMeta], Sequence[FileStats]], None]


@dataclass(frozen=True)
class SavedFooters:
    """What is stored of a pool's files in one format."""

    folder: Storage

    @classmethod
    def of(cls, root: Storage, pool: str, uri: str, format: str) -> SavedFooters:
        """Return those of the files under `uri`, as `format` reads them."""
        return cls(root.folder("footers", pool, digest([uri, format])[:16]))

    def save(self, entries: Sequence[ObjectMeta], stats: Sequence[FileStats]) -> None:
        """Store the footers of some files, those left out that cannot be read."""
        schemas: dict[pa.Schema, int] = {}
        footers = []
        for entry, footer in zip(entries, stats, strict=True):
            if not isinstance(footer, str):
                number = schemas.setdefault(footer.schema, len(schemas))
                footers.append([shard_id(entry), list(footer.row_groups), number])
        if footers:
            body = {"footers": footers, "schemas": [_text(schema) for schema in schemas]}
            content = seal(body)
            self.folder.put(f"{digest(body)[:32]}.json", content)

    def load(self, ids: Collection[str]) -> dict[str, Footer]:
        """Return the footers that are stored of the files of these shard ids, by id."""
        keys = [entry.key for entry in self.folder.walk()]
        found: dict[str, Footer] = {}
        with ThreadPoolExecutor(_THREADS) as threads:
            for footers in threads.map(self._read, keys):
                found |= {id: footer for id, footer in footers.items() if id in ids}
        return found

    def delete(self) -> None:
        """Delete them all: the inventory has what they say."""
        keys = [entry.key for entry in self.folder.walk()]
        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(self.folder.delete, keys))

    def _read(self, key: str) -> dict[str, Footer]:
        content = self.folder.read_or_none(key)
        if content is None:  # another driver has written the inventory
            return {}
        try:
            body = unseal(content, self.folder.url(key))
        except StorageError as error:
            log.warning("%s Its files are read again.", error)
            return {}
        schemas = [_schema(text) for text in body["schemas"]]
        footers = body["footers"]
        return {
            id: Footer(tuple(row_groups), schemas[number]) for id, row_groups, number in footers
        }


def _text(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def _schema(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
