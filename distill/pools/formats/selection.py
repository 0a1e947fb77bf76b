"""Selections: files of addresses that are read as shards of the rows that they name.

A selection (`[select.NAME]`) is stored as a pool. Row i of one of its files is the row of the base
pool that address i names, read from the base pool's own shard, with two more columns: the key of
that shard and the row's number in it. So all that works on a pool (inventory, labelling, joining,
training, verifying) works on a selection as it is, and each label has its address in the base pool
beside it.

A file is a sealed Arrow table (`core.schema.table_bytes`) of `ADDRESSES`, sorted by shard and row;
its note says where the base pool lay, how its files are read, and which columns they have. Where
the pool lies now is the format's option `uri` (`of_pool_at`): a root and its pools may be moved.
Columns that the job calls private are not among them, so no reader of the selection can ask for
one.

Reading costs what the base pool's rows cost: each base shard is opened once a call, and of an
indexed format only the row groups that hold a wanted row are decoded, a part at a time; where rows
are read to be learned from, those row groups stay in memory for the next one, since the selections
of a split pool (hundreds of teachers) need the same ones. Where the
base pool lies in a store and few rows of each shard are wanted, several shards are read at once.
A base shard that is gone, damaged or no longer the one that was chosen from is refused by name.

Jobs cannot name this format, and no ending tells it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.core.errors import StorageError
from distill.core.schema import bytes_table, table_bytes, table_note
from distill.pools.formats.base import Rejected, RowBatch, check_columns, groups_of
from distill.pools.formats.open import (
    errors_of_reading,
    format_named,
    missing_rows,
    open_shard,
    plain_columns,
)
from distill.pools.formats.options import format_name, format_options, with_options
from distill.pools.formats.shard_file import Footer, ShardFile, Streamed
from distill.pools.shard_id import require_listed
from distill.pools.value_cache import CACHE_BYTES, RowCache
from distill.spec.uris import is_remote
from distill.storage.base import CONDITIONAL_LIMIT_BYTES, Storage
from distill.storage.open import open_storage

SELECTED_SHARD = "selected_shard"  # key of the base pool's shard in which a row lies
SELECTED_ROW = "selected_row"  # its number in that shard
ADDRESS_KEYS = (SELECTED_SHARD, SELECTED_ROW)

_SHARD_ID = "shard_id"
# one row an address: shard key, the id that the shard had, row number, why it was chosen
ADDRESSES = pa.schema(
    [
        pa.field(SELECTED_SHARD, pa.string(), nullable=False),
        pa.field(_SHARD_ID, pa.binary(16), nullable=False),
        pa.field(SELECTED_ROW, pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
    ]
)

ENDING = ".selection"
# addresses of a file: of usual keys they stay below the limit of a conditional put
FILE_ROWS = 20_000
# addresses of a row group, the least that is read at once where a training caches decoded rows
_GROUP_ROWS = 1_024
_SHARDS_AT_ONCE = 8  # of a base pool in a store: opening one is all waiting
_KNOWN_FILES = 8

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BasePool:
    """The pool whose rows a selection names."""

    uri: str
    format: str
    schema: pa.Schema  # columns that may be read of its rows

    def to_note(self) -> str:
        """Return what a file of addresses says of it."""
        serialized = self.schema.remove_metadata().serialize().to_pybytes()
        # compressed: thousands of columns are not to fill a file that is written conditionally
        packed = base64.b64encode(zlib.compress(serialized)).decode()
        return json.dumps({"uri": self.uri, "format": self.format, "schema": packed})

    @classmethod
    def from_note(cls, note: str) -> BasePool:
        """Return the pool of which `to_note` made `note`."""
        plain = json.loads(note)
        serialized = zlib.decompress(base64.b64decode(plain["schema"]))
        schema = pa.ipc.read_schema(pa.py_buffer(serialized))
        return cls(plain["uri"], plain["format"], schema)


def address_files(base: BasePool, addresses: pa.Table, chosen_in: int) -> dict[str, bytes]:
    """Return the files of one round's addresses, by key.

    `addresses` has the columns `ADDRESSES`, sorted by shard and row, and `chosen_in` is the number
    of the round. A key names its content, so two choices never share a file."""
    parts = address_contents(base, addresses)
    contents = list(parts)
    files = {}
    for number, content in enumerate(contents):
        name = hashlib.sha256(content).hexdigest()[:12]
        files[f"{chosen_in:03d}-{number:05d}-{name}{ENDING}"] = content
    return files


def address_contents(base: BasePool, addresses: pa.Table) -> Iterator[bytes]:
    """Yield the files of some addresses, which have the columns `ADDRESSES`."""
    note = base.to_note()
    for start in range(0, len(addresses), FILE_ROWS):
        yield from _contents(addresses.slice(start, FILE_ROWS), note)


def _contents(addresses: pa.Table, note: str) -> Iterator[bytes]:
    """Sealed files of some addresses, each small enough for a conditional put."""
    content = table_bytes(addresses, note)
    if len(content) <= CONDITIONAL_LIMIT_BYTES or len(addresses) == 1:
        yield content
        return
    half = len(addresses) // 2
    yield from _contents(addresses.slice(0, half), note)
    rest = addresses.slice(half)
    yield from _contents(rest, note)


def read_addresses(folder: Storage, key: str) -> pa.Table:
    """Read one file of addresses. Raises StorageError where it is lost or damaged."""
    return bytes_table(folder.read(key), ADDRESSES, folder.url(key))


@dataclass(frozen=True)
class _Run:
    """Consecutive addresses of one base shard."""

    key: str
    shard_id: str
    rows: Numbers  # their rows, sorted
    addresses: pa.Table


_row_groups: RowCache[RowBatch] = RowCache(CACHE_BYTES)
# the files that were read last, by URL and size: whoever reads rows for training opens one again
# for each chunk, and checks afterwards that it did not change
_known_files: dict[tuple[str, int], pa.Table] = {}


class SelectionShard(ShardFile):
    """One file of addresses, read as the rows that they name. Raises StorageError for a damaged
    file."""

    name = "selection"
    title = "selection"
    endings = ()
    declared = False
    indexed = True
    typed = True
    addresses: ClassVar[pa.Schema] = ADDRESSES

    def __init__(
        self, source: pa.NativeFile, where: str, dialect: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(source, where)
        self._uri: str | None = dialect["uri"] if dialect else None
        size = source.size()
        file = (where, size)
        addresses = _known_files.get(file)
        if addresses is None:
            addresses = bytes_table(source.read(), self.addresses, where)
            # another thread may clear it at any time
            if len(_known_files) >= _KNOWN_FILES:
                _known_files.clear()
            _known_files[file] = addresses
        self._addresses = addresses
        self._is_kept = False

    @cached_property
    def own(self) -> Mapping[str, str]:
        """Columns of the file itself by the name that readers ask for."""
        return dict(zip(ADDRESS_KEYS, ADDRESS_KEYS, strict=True))

    def footer(self) -> Footer:
        rows = len(self._addresses)
        starts = range(0, rows, _GROUP_ROWS)
        groups = tuple(min(_GROUP_ROWS, rows - start) for start in starts)
        base = [field for field in self._base.schema if field.name not in self.own]
        own = [self.addresses.field(column).with_name(name) for name, column in self.own.items()]
        return Footer(groups, pa.schema([*base, *own]))

    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        self._is_kept = True
        streamed = self.stream(rows, columns, max(1, len(rows)))
        tables = []
        rejected: Rejected = {}
        start = 0
        for part in streamed.parts:
            rejected |= {start + row: reason for row, reason in part.rejected.items()}
            start += len(part.table)
            tables.append(part.table)
        if not tables:
            schema = self._schema(columns)
            return RowBatch(schema.empty_table())
        return RowBatch(pa.concat_tables(tables, promote_options="permissive"), rejected)

    def stream(self, rows: range, columns: Sequence[str], part_rows: int) -> Streamed:
        """Read exactly `rows`, not their whole row groups: nothing is saved by reading more."""
        check_columns(self.footer().schema, columns, self._where)
        clipped = range(len(self._addresses))[rows.start : rows.stop]
        return Streamed(clipped, self._parts(clipped, columns, part_rows))

    @cached_property
    def _base(self) -> BasePool:
        note = table_note(self._addresses)
        try:
            base = BasePool.from_note(note)
        except (ValueError, KeyError, zlib.error, pa.ArrowException) as error:
            raise StorageError(
                f"{self._where} does not say of which pool its addresses are: {error}."
                " Restore it from a copy."
            ) from None
        return base if self._uri is None else replace(base, uri=self._uri)

    @cached_property
    def _files(self) -> Storage:
        return open_storage(self._base.uri)

    def _schema(self, columns: Sequence[str]) -> pa.Schema:
        every = self.footer().schema
        return pa.schema([every.field(name) for name in columns])

    def _parts(self, rows: range, columns: Sequence[str], part_rows: int) -> Iterator[RowBatch]:
        of_base = [name for name in columns if name not in self.own]
        addresses = self._addresses.slice(rows.start, len(rows))
        if not of_base:  # nothing of the base pool is read for them
            found = addresses.select([self.own[name] for name in columns])
            yield RowBatch(found.rename_columns(list(columns)))
            return
        for runs in self._gathered(_runs(addresses), part_rows):
            for run, part in self._read_runs(runs, of_base, part_rows):
                yield self._with_own(part, run, columns)

    def _with_own(self, part: _Picked, run: _Run, columns: Sequence[str]) -> RowBatch:
        """The columns in the order in which they were asked for, those of the file itself too."""
        table = part.batch.table
        places = pa.array(np.searchsorted(run.rows, part.rows))
        for name, column in self.own.items():
            if name in columns:
                table = table.append_column(name, run.addresses[column].take(places))
        return RowBatch(table.select(list(columns)), part.batch.rejected)

    def _gathered(self, runs: Iterator[_Run], part_rows: int) -> Iterator[list[_Run]]:
        """Runs that are read at once: one, or of a pool in a store several short ones."""
        most = _SHARDS_AT_ONCE if is_remote(self._base.uri) else 1
        gathered: list[_Run] = []
        for run in runs:
            rows = sum(len(each.rows) for each in gathered) + len(run.rows)
            if gathered and (len(gathered) == most or rows > part_rows):
                yield gathered
                gathered = []
            gathered.append(run)
        if gathered:
            yield gathered

    def _read_runs(
        self, runs: list[_Run], columns: list[str], part_rows: int
    ) -> Iterator[tuple[_Run, _Picked]]:
        if len(runs) == 1:
            (run,) = runs
            for part in self._read_run(run, columns, part_rows):
                yield run, part
            return

        def read(run: _Run) -> list[_Picked]:
            return list(self._read_run(run, columns, part_rows))

        with ThreadPoolExecutor(len(runs)) as threads:
            for run, parts in zip(runs, threads.map(read, runs), strict=True):
                for part in parts:
                    yield run, part

    def _read_run(self, run: _Run, columns: list[str], part_rows: int) -> Iterator[_Picked]:
        """The rows of a run, in order, in parts. Raises PoolError."""
        # the last part is given when the shard is known to be the one that was chosen from:
        # nobody asks after it
        last: _Picked | None = None
        try:
            for part in self._picked(run, columns, part_rows):
                if last is not None:
                    yield last
                last = part
        except Exception:
            require_listed(self._files, run.key, run.shard_id)  # it explains everything else
            raise
        require_listed(self._files, run.key, run.shard_id)
        assert last is not None
        yield last

    def _picked(self, run: _Run, columns: list[str], part_rows: int) -> Iterator[_Picked]:
        where = self._files.url(run.key)
        span = range(int(run.rows[0]), int(run.rows[-1]) + 1)
        with (
            open_shard(self._files, run.key, self._base.format) as shard,
            errors_of_reading(where, span),
        ):
            for rows in _without_gaps(shard.footer().row_groups, run.rows):
                wanted = range(int(rows[0]), int(rows[-1]) + 1)
                found = 0
                for start, part in self._decoded(shard, run, wanted, columns, part_rows):
                    stop = start + len(part.table)
                    picked = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)]
                    if len(picked):
                        yield _Picked(picked, self._plain(part, picked - start, columns))
                    found += len(picked)
                if found != len(rows):
                    raise missing_rows(where, wanted)

    def _decoded(
        self, shard: ShardFile, run: _Run, wanted: range, columns: list[str], part_rows: int
    ) -> Iterator[tuple[int, RowBatch]]:
        """The rows of a base shard, and maybe some around them, part by part, each with the number
        of its first row."""
        if not self._is_kept or not format_named(self._base.format).indexed:
            streamed = shard.stream(wanted, columns, part_rows)
            start = streamed.rows.start
            for part in streamed.parts:
                yield start, part
                start += len(part.table)
            return
        sizes = shard.footer().row_groups
        groups, around = groups_of(sizes, wanted)
        start = around.start
        for group in groups:
            rows = range(start, start + sizes[group])
            key = (self._base.uri, self._base.format, run.shard_id, group, *columns)
            decode = partial(self._decoded_group, shard, run, rows, columns)
            yield start, _row_groups.get(key, decode, _size_bytes)
            start = rows.stop

    def _decoded_group(
        self, shard: ShardFile, run: _Run, rows: range, columns: list[str]
    ) -> RowBatch:
        batch = shard.read(rows, columns)
        # before it stays in memory: rows of a changed file would outlive its being restored
        require_listed(self._files, run.key, run.shard_id)
        return batch

    def _plain(self, part: RowBatch, offsets: Numbers, columns: list[str]) -> RowBatch:
        """Rows of a base shard, of the types that all of its shards are read as."""
        table = part.table.take(pa.array(offsets))
        rejected = {
            number: part.rejected[offset]
            for number, offset in enumerate(offsets.tolist())
            if offset in part.rejected
        }
        batch = plain_columns(RowBatch(table, rejected), columns, self._base.format)
        due = self._schema(columns)
        plain = [_as_type(batch.table[name], due.field(name).type) for name in columns]
        return RowBatch(pa.table(plain, columns), batch.rejected)


def _size_bytes(batch: RowBatch) -> int:
    return int(batch.table.nbytes)


def of_pool_at(uri: str, format: str) -> str:
    """Return the format of a selection whose base pool lies at `uri` now, whatever its files say."""
    name = format_name(format)
    return with_options(name, format_options(format) | {name: {"uri": uri}})


@dataclass(frozen=True)
class _Picked:
    """Some rows of a run."""

    rows: Numbers
    batch: RowBatch


def _runs(addresses: pa.Table) -> Iterator[_Run]:
    """The addresses of each base shard."""
    column = addresses[SELECTED_ROW]
    rows = column.to_numpy()
    keys = addresses[SELECTED_SHARD].combine_chunks().dictionary_encode()
    numbers = keys.indices.to_numpy()
    borders = np.flatnonzero(np.diff(numbers)) + 1
    starts = [0, *borders.tolist()] if len(rows) else []
    stops = [*borders.tolist(), len(rows)]
    for start, stop in zip(starts, stops, strict=False):
        key = keys.dictionary[int(numbers[start])].as_py()
        shard_id = addresses[_SHARD_ID][start].as_py().hex()
        yield _Run(key, shard_id, rows[start:stop], addresses.slice(start, stop - start))


def _without_gaps(groups: Sequence[int], rows: Numbers) -> Iterator[Numbers]:
    """Cut the wanted rows of a shard where whole row groups lie between two of them."""
    stops = np.cumsum(groups)
    group = np.searchsorted(stops, rows, side="right")
    borders = np.flatnonzero(np.diff(group) > 1) + 1
    yield from np.split(rows, borders)


def _as_type(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column as the first file has it."""
    # files of a format without types may differ: what the first one's type cannot hold stays
    if column.type == kind:
        return column
    try:
        return column.cast(kind)
    except pa.ArrowException:
        return column
