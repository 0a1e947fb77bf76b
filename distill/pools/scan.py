"""A pool's files held against its inventory: new ones make new segments, changed and vanished ones
are refused or retired.

Two drivers may do so at once. What is stored is read first, then the files are listed, so that
nothing looks vanished that was only listed too early; a segment is claimed under the number after
those that were read, and who loses a claim reads and lists again. So each segment is written by one
who knows all before it, and no file is listed twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa

from distill.core.errors import PoolError
from distill.core.schema import INVENTORY, table_bytes
from distill.pools.file_stats import ReadFileStats, read_file_stats, require_readable
from distill.pools.formats.registry import pool_format
from distill.pools.inventory import Inventory, read_inventory, segment_key
from distill.pools.shard_id import shard_id
from distill.spec.pools import Pool
from distill.storage.base import CONDITIONAL_LIMIT_BYTES, ObjectMeta, Storage, is_hidden
from distill.storage.open import require_conditional_put

log = logging.getLogger(__name__)

MADE_MARKER = "_made.json"
"""Written last by the making of a pool that its job makes."""
MAKING_MARKER = "_making.json"
"""Written first by it."""
_OUR_MARKERS = (MAKING_MARKER, MADE_MARKER)
_TRIES = 20
"""Claims lost to other drivers, each of which has written a segment then."""

Row = dict[str, object]


@dataclass(frozen=True)
class _Changes:
    """What of a listing the inventory does not say."""

    new: list[ObjectMeta]
    changed: list[ObjectMeta]
    vanished: list[str]


def take_inventory(
    root: Storage,
    pool: str,
    files: Storage,
    *,
    spec: Pool | None = None,
    read: ReadFileStats = read_file_stats,
) -> Inventory:
    """The pool's inventory, with new segments for what was not there before.

    Raises PoolError for a pool without files or rows, for files that cannot be read, and for those
    that changed or vanished.
    """
    spec = spec or Pool(path=files.uri)
    footers: dict[str, tuple[int, ...]] = {}
    for attempt in range(_TRIES):
        stored = read_inventory(root, pool, files.uri)
        found, hidden = _walk(files, pool)
        format = _same_format(
            pool,
            stored,
            pool_format([entry.key for entry in found], f"pools.{pool}: {files.uri}", spec.format),
        )
        known = stored.known if stored else {}
        changes = _changes(known, found)
        _refuse(pool, files, spec, changes)
        if stored and not (changes.new or changes.changed or changes.vanished):
            return _with_rows(stored, len(found))
        if hidden and not attempt:
            log.info(
                "pools.%s: %d files under %s start with _ or . and are no shards",
                pool,
                hidden,
                files.uri,
            )
        unread = [
            entry for entry in (*changes.new, *changes.changed) if shard_id(entry) not in footers
        ]
        footings = require_readable(
            pool, read(f"list {pool}", files.uri, unread, format) if unread else []
        )
        footers |= zip(map(shard_id, unread), footings, strict=True)
        first = len(stored.table) if stored else 0
        rows = _rows(changes, footers, {key: number for key, (number, _) in known.items()}, format)
        table = pa.Table.from_pylist(
            [row | {"number": first + n} for n, row in enumerate(rows)], INVENTORY
        )
        if stored is None:
            require_conditional_put(root)
        if _append(root.folder("inventories", pool), stored.segments if stored else 0, table):
            taken = read_inventory(root, pool, files.uri)
            assert taken is not None
            return _with_rows(taken, len(found))
    raise PoolError(
        f"pools.{pool}: other runs keep listing {files.uri} at the same time. Run the same command"
        " again."
    )


def list_shards(files: Storage) -> list[ObjectMeta]:
    """The files of a folder that no job calls a pool, by key. Raises PoolError where there is none."""
    return _walk(files)[0]


def _walk(files: Storage, pool: str = "") -> tuple[list[ObjectMeta], int]:
    """The files by key, and how many are hidden; `pool` is their name in a job."""
    everything = files.list_objects()
    markers = {entry.key for entry in everything} & set(_OUR_MARKERS)
    if markers == {MAKING_MARKER}:
        where = f"pools.{pool}: " if pool else ""
        raise PoolError(
            f"{where}the making of {files.uri} was cut off, so rows are missing. Run `distill run`;"
            " it makes the rest."
        )
    found = [entry for entry in everything if not is_hidden(entry.key)]
    if not found:
        if not pool:
            raise PoolError(f"no file lies at {files.uri}. Check the path.")
        raise PoolError(
            f"pools.{pool}.path: no file lies at {files.uri}. Check the path, or say in `made_by`"
            " what makes it."
        )
    return found, len(everything) - len(found) - len(markers)


def _changes(known: Mapping[str, tuple[int, str]], found: Sequence[ObjectMeta]) -> _Changes:
    vanished = sorted(known.keys() - {entry.key for entry in found})
    new = [entry for entry in found if entry.key not in known]
    changed = [
        entry for entry in found if entry.key in known and known[entry.key][1] != shard_id(entry)
    ]
    return _Changes(new, changed, vanished)


def _refuse(pool: str, files: Storage, spec: Pool, changes: _Changes) -> None:
    for what, keys in (
        ("changed", [entry.key for entry in changes.changed]),
        ("vanished", changes.vanished),
    ):
        if not keys:
            continue
        said = (
            f"pools.{pool}: {len(keys)} files under {files.uri} {what} since they were listed"
            f" ({', '.join(keys[:3])}{'…' if len(keys) > 3 else ''})"
        )
        if spec.on_change == "refuse":
            raise PoolError(
                f"{said}. Labels are addressed by file and row: restore the files, use another root"
                " for the new pool, "
                f'or set pools.{pool}.on_change = "relabel" to retire what is labelled of them.'
            )
        log.warning('%s; on_change = "relabel" retires their labels', said)


def _same_format(pool: str, stored: Inventory | None, format: str) -> str:
    if stored and stored.format != format:
        raise PoolError(
            f"pools.{pool}.format: its files were listed as {stored.format}, and are {format} now. "
            "Labels are addressed by row: set it back, or use another root for the new pool."
        )
    return format


def _with_rows(inventory: Inventory, files: int) -> Inventory:
    if not inventory.rows:
        raise PoolError(
            f"pools.{inventory.pool}: the {files} files under {inventory.uri} hold no rows. Put"
            " rows there, or correct the path."
        )
    return inventory


def _rows(
    changes: _Changes,
    footers: Mapping[str, tuple[int, ...]],
    numbers: Mapping[str, int],
    format: str,
) -> list[Row]:
    """What is to be appended: the files by key, then those that are gone."""
    entries = sorted((*changes.new, *changes.changed), key=lambda entry: entry.key)
    there: list[Row] = [
        {
            "key": entry.key,
            "id": shard_id(entry),
            "bytes": entry.size_bytes,
            "rows": sum(footers[shard_id(entry)]),
            "row_groups": list(footers[shard_id(entry)]),
            "format": format,
            "retires": numbers.get(entry.key),
        }
        for entry in entries
    ]
    nothing: Row = {"id": None, "bytes": 0, "rows": 0, "row_groups": [], "format": format}
    gone: list[Row] = [{"key": key, **nothing, "retires": numbers[key]} for key in changes.vanished]
    return there + gone


def _append(folder: Storage, number: int, table: pa.Table) -> bool:
    """Claim segment after segment from `number` on; False where another driver was first."""
    return all(
        folder.put_if_absent(segment_key(number + offset), content)
        for offset, content in enumerate(_segments(table, folder))
    )


def _segments(table: pa.Table, folder: Storage) -> Iterator[bytes]:
    """Sealed segments, as few as the limit of a conditional put allows."""
    content = table_bytes(table)
    if len(content) <= CONDITIONAL_LIMIT_BYTES:
        yield content
        return
    if len(table) == 1:
        raise PoolError(
            f"{folder.uri}: {table['key'][0]} has {len(table['row_groups'][0]):,} row groups, too"
            " many to be listed. Write it anew with larger ones."
        )
    parts = min(
        len(table), 1 + len(content) * 21 // (20 * CONDITIONAL_LIMIT_BYTES)
    )  # a part may compress a little worse
    borders = [len(table) * part // parts for part in range(parts + 1)]
    for start, stop in pairwise(borders):
        yield from _segments(table.slice(start, stop - start), folder)
