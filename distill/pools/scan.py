"""A pool's files compared with its inventory: new ones make new segments, changed and vanished ones
are refused or retired.

Two drivers may do so at once. What is stored is read first, then the files are listed, so that
nothing looks vanished that was only listed too early; a segment is claimed under the number after
those that were read, and who loses a claim reads and lists again. So each segment is written by one
who knows all before it, and no file is listed twice. Footers that were read are kept meanwhile
(`saved_footers`), so that a scan that is killed goes on without reading them again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pyarrow as pa

from distill.core.errors import PoolError
from distill.core.schema import INVENTORY, table_bytes, table_note, with_note
from distill.pools.changes import Changes, find_changes, refuse_changes
from distill.pools.column_names import check_names, tell_path_columns
from distill.pools.column_types import check_schemas, grown_types, pinned_types
from distill.pools.file_stats import ReadFileStats, read_file_stats, require_readable
from distill.pools.formats.csv import CsvShard
from distill.pools.formats.masking import plain_rules
from distill.pools.formats.open import format_named
from distill.pools.formats.options import MIXED, column_types, with_mask, with_options, with_types
from distill.pools.formats.path_columns import require_none_in_paths
from distill.pools.formats.registry import pool_format, read_footer
from distill.pools.formats.shard_file import Footer
from distill.pools.inventory import Inventory, pin_note, read_inventory, segment_key
from distill.pools.listing import Listing, list_pool
from distill.pools.saved_footers import SavedFooters
from distill.pools.shard_id import shard_id
from distill.spec.pools import Pool
from distill.storage.base import CONDITIONAL_LIMIT_BYTES, ObjectMeta, Storage
from distill.storage.open import open_storage, require_conditional_put

log = logging.getLogger(__name__)

_MOST_NAMED = 5  # files that are left out
_TRIES = 20  # claims lost to other drivers, each of which has written a segment then

Row = dict[str, object]


def take_inventory(
    root: Storage,
    pool: str,
    files: Storage,
    *,
    spec: Pool | None = None,
    read: ReadFileStats = read_file_stats,
    only: Collection[str] | None = None,
) -> Inventory:
    """Read the pool's inventory, with new segments for what was not there before. Of a selection
    `only` those files count that its rounds name.

    Raises PoolError for a pool without files or rows, for files that cannot be read, and for those
    that changed or vanished."""
    scan = _Scan(root, pool, files, spec or Pool(path=files.uri), read)
    scan.only = only
    for attempt in range(_TRIES):
        first = attempt == 0
        inventory = scan.take(first=first)
        if inventory is not None:
            if scan.saved_footers is not None:
                scan.saved_footers.delete()
            return inventory
    raise PoolError(
        f"pools.{pool}: other runs keep listing {files.uri} at the same time."
        " Run the same command again."
    )


class _Scan:
    """One call of `take_inventory`: its arguments, and what it has read of the files so far."""

    def __init__(
        self, root: Storage, pool: str, files: Storage, spec: Pool, read: ReadFileStats
    ) -> None:
        self._root = root
        self._pool = pool
        self._uri = files.uri
        self._files = files
        self._spec = spec
        self._read = read
        # by shard id: a lost claim does not open the files again
        self._footers: dict[str, Footer] = {}
        # keys of the files that count; all where that is None
        self.only: Collection[str] | None = None
        self.saved_footers: SavedFooters | None = None

    def take(self, *, first: bool) -> Inventory | None:
        """Compare, and write what is new; None where another driver came first."""
        stored = read_inventory(self._root, self._pool, self._uri)
        if stored and stored.uri != self._uri:
            self._files = open_storage(stored.uri)
        else:
            self._files = self._files.pinned()
        known = stored.known if stored else {}
        listing = list_pool(self._files, self._pool, known)
        found = listing.shards
        if self.only is not None:
            found = [entry for entry in found if entry.key in self.only]
        format = self._format(stored, found)
        changes = find_changes(known, found)
        refuse_changes(self._pool, self._files, self._spec, changes)
        if stored and not changes:
            return _with_rows(replace(stored, uri=self._files.uri), len(found))
        if first:
            self._tell_left_out(listing)
        # of files that were listed before, the inventory has the paths already
        added = changes.unlisted
        unlisted = [entry.key for entry in added]
        require_none_in_paths(unlisted, self._spec.rules, self._pool)
        reading = self._masked(format)
        self._read_footers(added, reading)
        self._check_names(added, reading)
        format = self._with_types(stored, changes, format)
        rows = self._rows(stored, changes, format)
        if not self._write(stored, rows):
            return None
        written = read_inventory(self._root, self._pool, self._uri)
        assert written is not None
        return _with_rows(written, len(found))

    def _tell_left_out(self, listing: Listing) -> None:
        if listing.hidden:
            log.info(
                "pools.%s: %d files under %s start with _ or . and are no shards",
                self._pool,
                listing.hidden,
                self._files.uri,
            )
        if listing.side_files:
            names = ", ".join(listing.side_files[:_MOST_NAMED])
            more = ", …" if len(listing.side_files) > _MOST_NAMED else ""
            log.info("pools.%s: left out as no shards: %s%s", self._pool, names, more)

    def _tell_types(self, types: Mapping[str, str]) -> None:
        for name in self._spec.read_columns:
            if types.get(name, MIXED) != MIXED:
                what = "pools.%s: column %r differs between files and is read as %s in all"
                log.info(what, self._pool, name, types[name])

    def _format(self, stored: Inventory | None, found: Sequence[ObjectMeta]) -> str:
        keys = [entry.key for entry in found]
        where = f"pools.{self._pool}: {self._files.uri}"
        name = pool_format(keys, where, self._spec.format)
        options = self._options(name)
        format = with_options(name, options)
        if stored and with_types(stored.format, {}) != format:
            raise PoolError(
                f"pools.{self._pool}.format: its files were listed as {stored.format}, and are"
                f" {format} now. Labels are addressed by row:"
                " set it back, or use another root for the new pool."
            )
        return format

    def _masked(self, format: str) -> str:
        """A format with the job's rules for private columns, which no inventory pins."""
        return with_mask(format, plain_rules(self._spec.rules))

    def _options(self, name: str) -> dict[str, Any]:
        """How files of that format are read, where not in the usual way."""
        if self._spec.csv is None:
            return {}
        if name != CsvShard.name:
            raise PoolError(f"pools.{self._pool}.csv: its files are {name}. Leave it out.")
        dialect = self._spec.csv.model_dump(mode="json", exclude_defaults=True)
        return {CsvShard.name: dialect} if dialect else {}

    def _read_footers(self, entries: Sequence[ObjectMeta], format: str) -> None:
        saved = SavedFooters.of(self._root, self._pool, self._files.uri, format)
        unread = self._unread(entries)
        if unread and self.saved_footers is None:
            self.saved_footers = saved
            self._footers |= saved.load({shard_id(entry) for entry in unread})
            unread = self._unread(entries)
        if not unread:
            return
        stats = self._read(f"list {self._pool}", self._files.uri, unread, format, saved.save)
        footers = require_readable(self._pool, stats)
        self._footers |= zip(map(shard_id, unread), footers, strict=True)

    def _unread(self, entries: Sequence[ObjectMeta]) -> list[ObjectMeta]:
        return [entry for entry in entries if shard_id(entry) not in self._footers]

    def _check_names(self, entries: Sequence[ObjectMeta], format: str) -> None:
        footers = {entry.key: self._footers[shard_id(entry)] for entry in entries}
        columns = self._spec.read_columns
        if not format_named(format).typed:  # of others the schemas are checked, each once
            check_names(footers, self._files, columns, format, self._pool)
        tell_path_columns(footers, self._files, columns, format, self._pool)

    def _with_types(self, stored: Inventory | None, changes: Changes, format: str) -> str:
        """The format with the types of columns in which files differ. Raises PoolError."""
        if not format_named(format).typed:
            return format
        examples: dict[pa.Schema, str] = {}
        for entry in changes.unlisted:
            key = shard_id(entry)
            footer = self._footers[key]
            if sum(footer.row_groups):
                examples.setdefault(footer.schema, self._files.url(entry.key))
        check_schemas(examples, self._spec, self._pool)
        gone = frozenset(changes.vanished)
        known = stored.shards if stored else ()
        first = next((shard for shard in known if shard.rows and shard.key not in gone), None)
        if stored is None or first is None:
            types = pinned_types(examples, self._spec, self._pool)
            self._tell_types(types)
            return with_types(format, types)
        reading = self._masked(stored.format)
        listed = read_footer(self._files, first.key, reading).schema.remove_metadata()
        types = grown_types(listed, examples, self._spec, self._pool)
        return with_types(stored.format, column_types(stored.format) | types)

    def _rows(self, stored: Inventory | None, changes: Changes, format: str) -> list[Row]:
        """What is to be appended: the files by key, then those that are gone."""
        known = stored.known if stored else {}
        numbers = {key: number for key, (number, _) in known.items()}
        rows: list[Row] = []
        for entry in sorted(changes.unlisted, key=lambda entry: entry.key):
            id = shard_id(entry)
            footer = self._footers[id]
            groups = footer.row_groups
            row: Row = {"key": entry.key, "id": id, "bytes": entry.size_bytes}
            row |= {"rows": sum(groups), "row_groups": list(groups)}
            rows.append(row | {"format": format, "retires": numbers.get(entry.key)})
        for key in changes.vanished:
            row = {"key": key, "id": None, "bytes": 0, "rows": 0, "row_groups": []}
            rows.append(row | {"format": format, "retires": numbers[key]})
        return rows

    def _write(self, stored: Inventory | None, rows: Sequence[Row]) -> bool:
        """Append `rows`; False where another driver was first."""
        start = len(stored.table) if stored else 0
        numbered = [row | {"number": start + offset} for offset, row in enumerate(rows)]
        table = pa.Table.from_pylist(numbered, INVENTORY)
        note = pin_note(self._uri, self._files.uri)
        if note:
            table = with_note(table, note)
        if stored is None:
            require_conditional_put(self._root)
        folder = self._root.folder("inventories", self._pool)
        segments = stored.segments if stored else 0
        return _append(folder, segments, table)


def _with_rows(inventory: Inventory, files: int) -> Inventory:
    if not inventory.rows:
        raise PoolError(
            f"pools.{inventory.pool}: the {files} files under {inventory.uri} hold no rows."
            " Put rows there, or correct the path."
        )
    return inventory


def _append(folder: Storage, number: int, table: pa.Table) -> bool:
    """Claim segment after segment from `number` on; False where another driver was first."""
    for content in _segments(table, folder):
        if not folder.put_if_absent(segment_key(number), content):
            return False
        number += 1
    return True


def _segments(table: pa.Table, folder: Storage) -> Iterator[bytes]:
    """Sealed segments, as few as the limit of a conditional put allows."""
    note = table_note(table)
    content = table_bytes(table, note)
    if len(content) <= CONDITIONAL_LIMIT_BYTES:
        yield content
        return
    if len(table) == 1:
        keys = table["key"]
        key = keys[0]
        groups = len(table["row_groups"][0])
        raise PoolError(
            f"{folder.uri}: {key} has {groups:,} row groups, too many to be listed."
            " Write it anew with larger ones."
        )
    # a part may compress a little worse than the whole: a twentieth is left for that
    parts = 1 + len(content) * 21 // (20 * CONDITIONAL_LIMIT_BYTES)
    rows = len(table)
    parts = min(rows, parts)
    borders = [len(table) * part // parts for part in range(parts + 1)]
    for start, stop in pairwise(borders):
        yield from _segments(table.slice(start, stop - start), folder)
