"""What people said of rows of a pool, taken as a pool of its own.

People hand in files of any format with the columns `shard`, `row` and the target: the address of a
row of the base pool, as `distill review` and every reader of labels gives it, and what they say of
it. Where they have `shard_id` too, as `distill review` writes it, it is the id that the file had
when the row was looked at: of a file that changed since, the number may be another row's. Rows
whose target is empty were not looked at, and are left out. What is handed in is checked as
a whole, since one wrong line may mean that all of them are of another pool: an address that the
base pool does not have, one that stands twice, one in a file that changed, and a class that the job
does not name are refused by name.

What is left is stored under the root as files of addresses (`formats.corrected`), named after their
content. Files that were handed in and changed make other files, which take the place of those from
before; the inventory says so, as of any pool that changes.

    corrections/<pool>/v1/rows/000-<part>-<content>.corrected
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distill.core.errors import PoolError
from distill.core.schema import table_bytes
from distill.pools.base_pool import base_pool
from distill.pools.features import class_names
from distill.pools.formats.base import check_columns
from distill.pools.formats.corrected import CORRECTED, ENDING, corrected_note
from distill.pools.formats.registry import pool_format, read_footer, read_rows
from distill.pools.formats.selection import FILE_ROWS
from distill.pools.listing import list_pool
from distill.pools.open_pool import OpenPool
from distill.spec.pools import Pool
from distill.storage.base import Storage

SHARD = "shard"
ROW = "row"
SHARD_ID = "shard_id"
_MOST_NAMED = 3


def corrections_path(name: str) -> str:
    """Return where the files of the corrections `pools.<name>` lie, below the root."""
    return f"corrections/{name}/v1/rows"


@dataclass(frozen=True)
class Corrections:
    """What is handed in for one pool."""

    name: str  # the pool that they are
    spec: Pool
    handed_in: Storage
    base: OpenPool  # the pool that they are of

    def store(self, folder: Storage) -> frozenset[str]:
        """Check what is handed in, and store it below `folder` unless it is there; return the keys of
        its files. Raises PoolError."""
        found = self._read()
        self._require_addresses(found)
        self._require_unchanged(found)
        self._require_once(found)
        self._require_classes(found)
        ordered = self._ordered(found)
        files = self._files(ordered)
        for key, content in files.items():
            if not folder.create(key, content) and folder.read(key) != content:
                folder.put(key, content)
        return frozenset(files)

    @property
    def _where(self) -> str:
        return f"pools.{self.name}: {self.handed_in.uri}"

    @property
    def _target(self) -> str:
        return str(self.spec.target)

    def _read(self) -> pa.Table:
        """All lines that say something: shard, row, said, file and line."""
        keys = [entry.key for entry in list_pool(self.handed_in, self.name).shards]
        parts = self._tables(keys)
        tables = list(parts)
        found = pa.concat_tables(tables)
        if not len(found):
            raise PoolError(
                f"{self._where}: no line says anything in {self._target!r}."
                " Fill it in where a row was looked at; other lines may stay empty."
            )
        return found

    def _tables(self, keys: Sequence[str]) -> Iterator[pa.Table]:
        format = pool_format(keys, self._where)
        needed = [SHARD, ROW, self._target]
        for key in keys:
            footer = read_footer(self.handed_in, key, format)
            url = self.handed_in.url(key)
            schema = footer.schema
            check_columns(schema, needed, url)
            wanted = [*needed, *({SHARD_ID} & set(schema.names))]
            count = sum(footer.row_groups)
            batch = read_rows(self.handed_in, key, range(count), wanted, format=format)
            if batch.rejected:
                line, (_, message) = min(batch.rejected.items())
                raise PoolError(f"{url}: line {line} cannot be read: {message}. Correct it.")
            yield self._said(batch.table, url)

    def _said(self, table: pa.Table, url: str) -> pa.Table:
        """Lines that say something, of known types."""
        column = table[self._target]
        said = _texts(column) if self.spec.class_names else _numbers(column, self._target, url)
        lines = pa.array(np.arange(len(table)))
        shards = table[SHARD]
        shard = _texts(shards)
        rows = table[ROW]
        row = _whole(rows, url)
        files = pa.repeat(url, len(table))
        shard_id: Any = pa.nulls(len(table), pa.string())
        if SHARD_ID in table.column_names:
            ids = table[SHARD_ID]
            shard_id = _texts(ids)
        columns = [shard, row, said, files, lines, shard_id]
        found = pa.table(columns, names=[SHARD, ROW, "said", "file", "line", SHARD_ID])
        return found.filter(pc.is_valid(found["said"]))

    def _require_addresses(self, found: pa.Table) -> None:
        shards = {shard.key: shard.rows for shard in self.base.inventory.shards}
        keys = found[SHARD].to_pylist()
        numbers = found[ROW]
        rows = numbers.to_pylist()
        wrong = [
            number
            for number, (key, row) in enumerate(zip(keys, rows, strict=True))
            if row is None or not 0 <= row < shards.get(key, 0)
        ]
        if wrong:
            named = self._named(found, wrong)
            raise PoolError(
                f"{self._where}: {len(wrong):,} addresses are no rows of pools.{self.base.name}:"
                f" {named}. A shard is the file's key below {self.base.inventory.uri}, a row its"
                " number in it from 0 on."
            )

    def _require_unchanged(self, found: pa.Table) -> None:
        """Refuse rows that were looked at in a file that is another one now."""
        ids = {shard.key: shard.id for shard in self.base.inventory.shards}
        looked_at = zip(found[SHARD].to_pylist(), found[SHARD_ID].to_pylist(), strict=True)
        wrong = [number for number, (key, id) in enumerate(looked_at) if id not in (None, ids[key])]
        if wrong:
            raise PoolError(
                f"{self._where}: {len(wrong):,} rows of pools.{self.base.name} were looked at in"
                f" files that have changed since: {self._named(found, wrong)}. Look at them again,"
                f" or, if they are the same rows, empty their {SHARD_ID!r}."
            )

    def _require_once(self, found: pa.Table) -> None:
        numbered = found.group_by([SHARD, ROW]).aggregate([("line", "count")])
        twice = numbered.filter(pc.greater(numbered["line_count"], 1))
        if len(twice):
            first = twice.slice(0, _MOST_NAMED).to_pylist()
            named = "; ".join(f"{each[SHARD]} row {each[ROW]}" for each in first)
            raise PoolError(
                f"{self._where}: {len(twice):,} rows are labelled twice: {named}."
                " Leave one line of each."
            )

    def _require_classes(self, found: pa.Table) -> None:
        classes = self.spec.class_names
        if not classes:
            return
        is_known = pc.is_in(found["said"], pa.array(classes))
        wrong = np.flatnonzero(~is_known.to_numpy()).tolist()
        if wrong:
            said = sorted({found["said"][number].as_py() for number in wrong})
            raise PoolError(
                f"{self._where}: {len(wrong):,} lines say {said[:_MOST_NAMED]}, which are no classes"
                f" of pools.{self.name}: {self._named(found, wrong)}. It has: {', '.join(classes)}."
            )

    def _named(self, found: pa.Table, wrong: Sequence[int]) -> str:
        lines = [found.slice(number, 1).to_pylist()[0] for number in wrong[:_MOST_NAMED]]
        texts = [
            f"{each[SHARD]} row {each[ROW]} ({each['file']}, line {each['line'] + 1})"
            for each in lines
        ]
        more = len(wrong) - len(lines)
        return "; ".join(texts) + (f" and {more:,} more" if more else "")

    def _ordered(self, found: pa.Table) -> pa.Table:
        """The table that is stored, in the order of the base pool's shards and rows."""
        inventory = self.base.inventory
        shards = list(inventory.shards)
        number = {shard.key: place for place, shard in enumerate(shards)}
        keys = found[SHARD].to_pylist()
        places = np.array([number[key] for key in keys])
        order = np.lexsort((found[ROW].to_numpy(), places))
        positions = pa.array(order)
        taken = found.take(positions)
        ids = [bytes.fromhex(shards[place].id) for place in places[order]]
        rows = len(taken)
        nothing = pa.nulls(rows)
        spec = self.spec
        is_class = bool(spec.class_names)
        columns = [
            taken[SHARD],
            pa.array(ids, pa.binary(16)),
            taken[ROW],
            pa.repeat("people", len(taken)),
            pa.repeat(1.0, len(taken)),
            taken["said"] if is_class else nothing.cast(pa.string()),
            nothing.cast(pa.float64()) if is_class else taken["said"],
        ]
        return pa.table(columns, schema=CORRECTED)

    def _files(self, table: pa.Table) -> dict[str, bytes]:
        base = base_pool(self.base)
        spec = self.spec
        is_class = bool(spec.class_names)
        note = corrected_note(base, self._target, is_class=is_class)
        files = {}
        for number, start in enumerate(range(0, len(table), FILE_ROWS)):
            content = table_bytes(table.slice(start, FILE_ROWS), note)
            name = hashlib.sha256(content).hexdigest()[:12]
            files[f"000-{number:05d}-{name}{ENDING}"] = content
        return files


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text of a column of names, "" as nothing."""
    names = class_names(column).cast(pa.string())
    return pc.if_else(pc.equal(names, ""), pa.scalar(None, pa.string()), names)


def _whole(column: pa.ChunkedArray, url: str) -> pa.ChunkedArray:
    try:
        return column.cast(pa.int64())
    except pa.ArrowException:
        message = f"{url}: {ROW!r} is {column.type}, and no whole number. Correct it."
        raise PoolError(message) from None


def _numbers(column: pa.ChunkedArray, name: str, url: str) -> pa.ChunkedArray:
    try:
        numbers = column.cast(pa.float64())
    except pa.ArrowException:
        raise PoolError(f"{url}: {name!r} is {column.type}, and no number. Correct it.") from None
    present = numbers.drop_null()
    known = present.to_numpy()
    if not np.isfinite(known).all():
        raise PoolError(f"{url}: {name!r} has numbers that are NaN or infinite. Correct them.")
    return numbers
