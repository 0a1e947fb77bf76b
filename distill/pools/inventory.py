"""The frozen list of a pool's shards. A label is addressed by (shard, row number), so this list
must never change under it.

It is stored as immutable numbered segments, `inventories/<pool>/<n>.arrow`, each claimed by a
conditional put. A shard's number is the number of its row over all segments, so that growth makes
new numbers and never a renumbering. A row may retire an earlier one: the file changed, and this row
is what it is now, or (with a null id) the file is gone. Retired shards keep their number and their
labels, which nobody sees any more. `distill.pools.scan` writes the segments.

Where an address may come to mean other files (a branch of the Hugging Face hub), a segment notes
which ones it meant (`pin_note`), and the inventory's `uri` is that of those.

Columnar inside: 100,000 shards are about 12 MB, and objects are made of them only where one is
looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distill.core.errors import JobError, StorageError
from distill.core.plain_arrow import to_arrow, to_numbers
from distill.core.schema import INVENTORY, bytes_table, digest, table_note
from distill.pools.formats.masking import Rules, plain_rules, rules_digest
from distill.pools.formats.open import format_named
from distill.pools.formats.options import with_mask, with_types
from distill.pools.fragments import WHOLE, FragmentTable, cut_fragments, fragment_id
from distill.storage.base import Storage

Numbers = npt.NDArray[np.int64]

# of `INVENTORY`, those that a reader needs in memory
_COLUMNS = ("key", "id", "bytes", "rows", "row_groups", "retires")
_SHARDS_AT_ONCE = 4_096


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
    # number of the row group that this is a part of; None for whole row groups
    group: int | None = None


@dataclass(frozen=True)
class Inventory:
    """The shards of one pool. `digest` is that of the first segment: neither growth nor a change is
    another label set."""

    pool: str
    uri: str
    format: str
    digest: str
    segments: int
    table: pa.Table  # some columns of `INVENTORY`, one row a shard number, retired ones included
    segment_starts: tuple[int, ...] = (0,)  # number of the first shard of each segment
    # digest of what the job's rules make of private columns; "" where no rule changes one
    masks: str = ""

    @property
    def shards(self) -> Iterator[Shard]:
        """The live shards in order, made as they are taken."""
        for start in range(0, len(self.live), _SHARDS_AT_ONCE):
            numbers = self.live[start : start + _SHARDS_AT_ONCE]
            rows = self.table.take(to_arrow(numbers)).to_pylist()
            yield from map(_shard, numbers.tolist(), rows)

    def shard(self, number: int) -> Shard:
        """Return the shard of that number."""
        (row,) = self.table.slice(number, 1).to_pylist()
        return _shard(number, row)

    @cached_property
    def live(self) -> Numbers:
        """Numbers of the live shards."""
        is_live = to_numbers(self.table["id"].is_valid()).copy()
        is_live[list(self.retired)] = False
        return np.flatnonzero(is_live)

    @cached_property
    def retired(self) -> frozenset[int]:
        """Numbers of shards whose labels nobody sees any more."""
        return frozenset(self.table["retires"].drop_null().to_pylist())

    @property
    def rows(self) -> int:
        """Rows of all live shards."""
        return int(self.shard_rows.sum())

    @cached_property
    def shard_rows(self) -> Numbers:
        """Rows of each shard by its number, 0 where it is retired."""
        rows = np.zeros(len(self.table), np.int64)
        rows[self.live] = to_numbers(self.table["rows"])[self.live]
        return rows

    @property
    def group_rows(self) -> list[list[int]]:
        """Rows of each row group of each shard by its number; none where it is retired. A file of a
        format without an index is one group."""
        if not self._is_indexed:
            return [[rows] if rows else [] for rows in self.shard_rows.tolist()]
        groups: list[list[int]] = self.table["row_groups"].to_pylist()
        numbers = self.live.tolist()
        live = set(numbers)
        return [rows if number in live else [] for number, rows in enumerate(groups)]

    @cached_property
    def content(self) -> str:
        """Digest of every shard there is now, as it is read: what a fit or a student pins."""
        shards = _identity(self._live_table)
        return digest([shards, self.masks]) if self.masks else shards

    def masked(self, rules: Rules) -> Inventory:
        """Return the same shards, read under a job's rules for private columns. Raises JobError
        where a key is missing."""
        if not rules:
            return self
        format = with_mask(self.format, plain_rules(rules))
        try:
            masks = rules_digest(rules)
        except JobError as error:
            raise JobError(f"pools.{self.pool}.{error}") from None
        return replace(self, format=format, masks=masks)

    @property
    def known(self) -> dict[str, tuple[int, str]]:
        """Number and id of each live shard by its key."""
        table = self._live_table.select(["key", "id"])
        key_column = table["key"]
        keys = key_column.to_pylist()
        id_column = table["id"]
        ids = id_column.to_pylist()
        numbers = self.live.tolist()
        return dict(zip(keys, zip(numbers, ids, strict=True), strict=True))

    def fragments(self, fragment_rows: int) -> Iterator[Fragment]:
        """Give every live row once, in (shard, row) order, cut as `distill.pools.fragments` says."""
        table = self.fragment_table(fragment_rows)
        shards = self.shards
        shard: Shard | None = None
        columns = (table.shard, table.number, table.start, table.rows, table.group)
        lists = (column.tolist() for column in columns)
        for shard_number, number, start, rows, group in zip(*lists, strict=True):
            while shard is None or shard.number != shard_number:
                shard = next(shards)  # past those that have no rows
            name = fragment_id(shard_number, number)
            yield Fragment(name, shard, start, rows, None if group == WHOLE else group)

    def fragment_table(self, fragment_rows: int) -> FragmentTable:
        """Cut all live rows into fragments, by columns, for who has very many of them."""
        groups = self.table["row_groups"].take(to_arrow(self.live)).combine_chunks()
        lengths = to_numbers(pc.list_value_length(groups))
        counts = lengths.astype(np.int64)
        rows = to_numbers(groups.flatten())
        if not self._is_indexed:  # a part of a file costs the whole file, so none is cut
            largest = int(self.shard_rows.max(initial=1))
            fragment_rows = max(fragment_rows, largest)
        return cut_fragments(self.live, counts, rows, fragment_rows)

    @property
    def _live_table(self) -> pa.Table:
        return self.table.take(to_arrow(self.live))

    @property
    def _is_indexed(self) -> bool:
        return format_named(self.format).indexed


def read_inventory(root: Storage, pool: str, uri: str) -> Inventory | None:
    """Read the inventory as it is stored; None before the first segment.

    Raises StorageError where it is lost or damaged."""
    folder = root.folder("inventories", pool)
    tables: list[pa.Table] = []
    pins: dict[str, str] = {}
    for entry in folder.list_objects():
        number = len(tables)
        key = segment_key(number)
        where = folder.url(key)
        if entry.key != key:
            message = f"{where} is missing, but later segments are there. Restore it from a copy."
            raise StorageError(message)
        table = bytes_table(folder.read(key), INVENTORY, where)
        pins |= json.loads(table_note(table) or "{}")
        plain = table.replace_schema_metadata(None)
        tables.append(plain)
        _require_order(tables, where)
    if not tables:
        return None
    # growth may bring files of other types, and never takes a type back
    format = tables[-1]["format"][0].as_py()
    shards = pa.concat_tables(tables).select(_COLUMNS).combine_chunks()
    pinned = pins.get(uri, uri)
    starts = tuple(accumulate(map(len, tables[:-1]), initial=0))
    return Inventory(pool, pinned, format, _identity(tables[0]), len(tables), shards, starts)


def pin_note(uri: str, pinned: str) -> str:
    """Return what a segment notes where the address `uri` meant the files at `pinned`."""
    return json.dumps({uri: pinned}) if pinned != uri else ""


def segment_key(number: int) -> str:
    """Return the key of a segment in its folder."""
    return f"{number:06d}.arrow"


def _require_order(tables: list[pa.Table], where: str) -> None:
    """Refuse a newest segment that does not follow those before it."""
    # a segment is written by one who has read those before
    newest = tables[-1]
    numbers = to_numbers(newest["number"])
    start = sum(map(len, tables[:-1]))
    follows = np.array_equal(numbers, np.arange(start, start + len(newest)))
    retires_itself = pc.greater_equal(newest["retires"], newest["number"])
    found = pc.any(retires_itself)
    retires_only_before = not found.as_py()
    both = pa.concat_tables([tables[0], newest])
    formats = {with_types(format, {}) for format in pc.unique(both["format"]).to_pylist()}
    if not len(newest) or not follows or not retires_only_before or len(formats) != 1:
        raise StorageError(
            f"{where} does not follow from the segments before it. Restore the folder from a copy."
        )


def _identity(table: pa.Table) -> str:
    return digest([table[name].to_pylist() for name in ("key", "id", "rows")])


def _shard(number: int, row: dict[str, Any]) -> Shard:
    id = row["id"] or ""  # null where the file is gone
    groups = tuple(row["row_groups"])
    return Shard(number, row["key"], id, row["bytes"], row["rows"], groups)
