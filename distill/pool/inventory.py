"""The frozen list of a pool's shards. A label is addressed by (shard, row number), so this list must never change under it.

It is kept in immutable numbered segments, `inventories/<pool>/<n>.arrow`, each claimed by a conditional put. Shards are numbered in
the order of the segments, sorted by key within one, so that new files make new numbers and never a renumbering. A file that
changed or vanished since it was listed is refused by name.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from distill.errors import PoolError, StorageError
from distill.job import Format
from distill.pool.formats import INDEXED, Footer, pool_format, read_footer
from distill.schema import INVENTORY, bytes_table, digest, table_bytes
from distill.storage import Entry, Storage, is_hidden

log = logging.getLogger(__name__)

MADE_MARKER = "_made.json"
"""Written last by the making of a pool that its job makes."""
MAKING_MARKER = "_making.json"
"""Written first by it."""
_OUR_MARKERS = (MAKING_MARKER, MADE_MARKER)
_FOOTER_THREADS = 16
_SEGMENT_SHARDS = 2_000
"""Keeps a segment under the limit of a conditional put."""


@dataclass(frozen=True)
class Shard:
    """One file of a pool. `id` is a digest of key, size and the store's token."""

    number: int
    key: str
    id: str
    size_bytes: int
    rows: int
    row_groups: tuple[int, ...]


@dataclass(frozen=True)
class Fragment:
    """A run of rows of one shard: the unit of work, commit and resume."""

    id: str
    shard: Shard
    start: int
    rows: int


@dataclass(frozen=True)
class Inventory:
    """The shards of one pool, in order. `digest` is that of the first segment: growth does not change a label set's identity."""

    pool: str
    uri: str
    shards: tuple[Shard, ...]
    digest: str
    format: Format = "parquet"

    @property
    def rows(self) -> int:
        """Rows of the whole pool."""
        return sum(shard.rows for shard in self.shards)

    @cached_property
    def content(self) -> str:
        """Digest of every shard there is now: what a fit or a student pins."""
        return digest([[shard.key, shard.id, shard.rows] for shard in self.shards])

    def fragments(self, fragment_rows: int) -> Iterator[Fragment]:
        """Every row once, in (shard, row) order."""
        for shard in self.shards:
            step = fragment_rows if self.format in INDEXED else max(shard.rows, 1)
            for number, start in enumerate(range(0, shard.rows, step)):
                yield Fragment(f"{shard.number:06d}-{number:06d}", shard, start, min(step, shard.rows - start))


def read_inventory(root: Storage, pool: str, uri: str) -> Inventory | None:
    """The inventory as it is stored; None before the first segment."""
    folder = root.folder("inventories", pool)
    shards: list[Shard] = []
    first = ""
    for number, entry in enumerate(folder.list_objects()):
        if entry.key != _segment(number):
            raise StorageError(
                f"{folder.url(_segment(number))} is missing, but later segments are there. Restore it from a copy."
            )
        table = bytes_table(folder.read(entry.key), INVENTORY, folder.url(entry.key))
        first = first or digest([table["key"].to_pylist(), table["id"].to_pylist(), table["rows"].to_pylist()])
        shards += [_shard(len(shards) + offset, row) for offset, row in enumerate(table.to_pylist())]
    return Inventory(pool, uri, tuple(shards), first) if first else None


def take_inventory(root: Storage, pool: str, files: Storage, declared: Format | None = None) -> Inventory:
    """The pool's inventory, with a new segment for files that were not there before.

    Raises PoolError for a pool without files, of several formats, and for files that changed or vanished.
    """
    found = list_shards(pool, files)
    format = pool_format([entry.key for entry in found], f"pools.{pool}: {files.uri}", declared)
    # counted before it is read: a segment that another run adds from here on makes this run's claim fail, never a second copy
    segments = len(root.folder("inventories", pool).list_objects())
    stored = read_inventory(root, pool, files.uri)
    known = {shard.key: shard.id for shard in stored.shards} if stored else {}
    _refuse_changes(pool, files, known, found)
    new = [entry for entry in found if entry.key not in known]
    if stored and not new:
        return replace(stored, format=format)
    hidden = sum(is_hidden(entry.key) and entry.key not in _OUR_MARKERS for entry in files.walk())
    if hidden:
        log.info("pools.%s: %d files under %s start with _ or . and are no shards", pool, hidden, files.uri)
    _append(root.folder("inventories", pool), segments, files, new, format=format)
    taken = read_inventory(root, pool, files.uri)
    if taken is None or {entry.key for entry in found} != {shard.key for shard in taken.shards}:
        raise PoolError(
            f"pools.{pool}: another run listed other files of {files.uri} at the same time. Run the same command again."
        )
    if not taken.rows:
        raise PoolError(
            f"pools.{pool}: the {len(found)} files under {files.uri} hold no rows. Put rows there, or correct the path."
        )
    return replace(taken, format=format)


def list_shards(pool: str, files: Storage) -> list[Entry]:
    """The pool's files by key. Raises PoolError where there is none."""
    everything = files.list_objects()
    markers = {entry.key for entry in everything} & set(_OUR_MARKERS)
    if markers == {MAKING_MARKER}:
        raise PoolError(
            f"pools.{pool}: the making of {files.uri} was cut off, so rows are missing. Run `distill run`; it makes the rest."
        )
    found = [entry for entry in everything if not is_hidden(entry.key)]
    if not found:
        raise PoolError(
            f"pools.{pool}.path: no file lies at {files.uri}. Check the path, or say in `made_by` what makes it."
        )
    return found


def shard_id(entry: Entry) -> str:
    """Digest of key, size and token: another content has another id."""
    return digest([entry.key, entry.size_bytes, entry.token])[:32]


def _refuse_changes(pool: str, files: Storage, known: dict[str, str], found: Sequence[Entry]) -> None:
    now = {entry.key: shard_id(entry) for entry in found}
    vanished = sorted(known.keys() - now.keys())
    changed = sorted(key for key in known.keys() & now.keys() if known[key] != now[key])
    for what, keys in (("changed", changed), ("vanished", vanished)):
        if keys:
            raise PoolError(
                f"pools.{pool}: {len(keys)} files under {files.uri} {what} since they were listed ({', '.join(keys[:3])}{'…' if len(keys) > 3 else ''}). "
                f"Labels are addressed by file and row: restore the files, or use another root for the new pool."
            )


def _append(folder: Storage, number: int, files: Storage, new: Sequence[Entry], *, format: Format) -> None:
    with ThreadPoolExecutor(_FOOTER_THREADS) as threads:
        footers: list[Footer] = list(threads.map(lambda entry: read_footer(files, entry.key, format), new))
    rows = [
        {
            "key": entry.key,
            "id": shard_id(entry),
            "bytes": entry.size_bytes,
            "rows": sum(footer.row_groups),
            "row_groups": list(footer.row_groups),
        }
        for entry, footer in zip(new, footers, strict=True)
    ]
    for offset, start in enumerate(range(0, len(rows), _SEGMENT_SHARDS)):
        part = pa.Table.from_pylist(rows[start : start + _SEGMENT_SHARDS], INVENTORY)
        folder.put_if_absent(_segment(number + offset), table_bytes(part))


def _segment(number: int) -> str:
    return f"{number:06d}.arrow"


def _shard(number: int, row: dict[str, object]) -> Shard:
    groups = row["row_groups"]
    assert isinstance(groups, list)
    return Shard(number, str(row["key"]), str(row["id"]), int(str(row["bytes"])), int(str(row["rows"])), tuple(groups))
