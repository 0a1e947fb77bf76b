"""A pool's rows in disjoint parts, stored as files of addresses and a record of which part has
which.

    <folder>/parts/<part>-<number>-<content>.selection     (`pools.formats.selection`)
    <folder>/parts.json                                    written last: it makes them exist

Both are written under their content's own keys, or by conditional put, so that two drivers that
split at once write the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from distill.core.schema import seal, unseal
from distill.pools.formats.selection import BasePool, address_files
from distill.storage.base import Storage

PARTS = "parts"
_RECORD = "parts.json"


@dataclass(frozen=True)
class PoolParts:
    """Which files each part has."""

    files: tuple[tuple[str, ...], ...]
    rows: tuple[int, ...]
    left_out: int  # rows that are in no part


def read_parts(folder: Storage) -> PoolParts | None:
    """Read what was split; None before it is. Raises StorageError where the record is damaged."""
    content = folder.read_or_none(_RECORD)
    if content is None:
        return None
    where = folder.url(_RECORD)
    body = unseal(content, where)
    files = tuple(tuple(each) for each in body["files"])
    return PoolParts(files, tuple(body["rows"]), body["left_out"])


def write_parts(
    folder: Storage, base: BasePool, parts: Sequence[pa.Table], left_out: int
) -> PoolParts:
    """Write each part's addresses, columns `ADDRESSES` sorted by shard and row. Returns what is
    stored, which is another driver's where that was first."""
    own = folder.folder(PARTS)
    files = []
    for number, addresses in enumerate(parts):
        contents = address_files(base, addresses, number)
        for key, content in contents.items():
            own.put_if_absent(key, content)
        part = tuple(contents)
        files.append(part)
    rows = tuple(len(addresses) for addresses in parts)
    folder.put_if_absent(_RECORD, seal(asdict(PoolParts(tuple(files), rows, left_out))))
    stored = read_parts(folder)
    assert stored is not None
    return stored
