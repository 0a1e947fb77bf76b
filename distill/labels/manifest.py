"""The committed fragments of one label set, in columns: the highest generation of each, in (shard,
row) order.

Entries live in an Arrow table (about 190 bytes each) and become objects only while somebody looks
at them. A fragment is known by one integer, its *code*: shard · 2²⁴ + its number within the shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.core.plain_arrow import to_arrow, to_numbers
from distill.core.schema import MANIFEST
from distill.pools.fragments import fragment_id

Integers = npt.NDArray[np.int64]

# Fragments of a shard that a code has room for: 16.8 million, of at least one row each.
_NUMBER_BITS = 24
_ENTRIES_AT_ONCE = 2_000  # objects that an iteration makes at once
# stored as bytes, and hex text in a `ManifestEntry`
_HEX_COLUMNS = tuple(field.name for field in MANIFEST if pa.types.is_fixed_size_binary(field.type))


def _in_memory(field: pa.Field) -> pa.Field:
    if pa.types.is_string(field.type):
        texts = pa.dictionary(pa.int32(), pa.string())
        return field.with_type(texts)
    return field


# A text has few distinct values: it takes four bytes an entry instead of a hundred.
_IN_MEMORY = pa.schema([_in_memory(field) for field in MANIFEST])


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One committed fragment. Digests and ids are hex."""

    shard: int
    number: int  # of the fragment within its shard
    generation: int
    start: int
    rows: int
    rejected: int
    bytes: int
    format: str  # of the data object: `arrow` or `parquet`
    attempt: str
    shard_id: str
    sha256: str  # of the data object
    xxh3: str  # fast digest of the data object, checked at each read
    # of the decoded columns: the same wherever and however often the fragment is labelled
    columns_sha256: str
    # device and library versions in one word: labels made on the same are the same bytes
    made_on: str

    @property
    def fragment(self) -> str:
        """The fragment's id."""
        return fragment_id(self.shard, self.number)

    @property
    def data(self) -> str:
        """Key of its labels."""
        return data_key(self.fragment, self.attempt, self.format)

    @property
    def rejects(self) -> str | None:
        """Key of the list of its rejected rows; None where there are none."""
        return rejects_key(self.fragment, self.attempt) if self.rejected else None


class Manifest(Sequence[ManifestEntry]):
    """Entries in (shard, row) order; of two generations of a fragment, the higher."""

    def __init__(self, table: pa.Table) -> None:
        """`table` under `MANIFEST`, in any order, generations of a fragment side by side or not."""
        tables = [table]
        self._table = join_entries(tables)
        shard = self._integers("shard")
        numbers = self._integers("number")
        codes = fragment_codes(shard, numbers)
        generation = self._integers("generation")
        keys = (generation, codes)
        order = np.lexsort(keys)
        ordered = codes[order]
        # Of a fragment's generations the last in order is the highest.
        last = np.ones(len(order), np.bool_)
        last[:-1] = ordered[1:] != ordered[:-1]
        self._order = order[last]
        self.codes = codes[self._order]  # of each entry's fragment, ascending

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[ManifestEntry]:
        # an entry is an object of half a kilobyte: 200,000 of them would be a hundred megabytes
        for start in range(0, len(self), _ENTRIES_AT_ONCE):
            yield from self[start : start + _ENTRIES_AT_ONCE]

    @overload
    def __getitem__(self, position: int) -> ManifestEntry: ...
    @overload
    def __getitem__(self, position: slice) -> list[ManifestEntry]: ...
    def __getitem__(self, position: int | slice) -> ManifestEntry | list[ManifestEntry]:
        if isinstance(position, slice):
            index = self._order[position]
            return self._entries(index)
        (entry,) = self._entries(self._order[[position]])
        return entry

    def table(self, start: int, stop: int) -> pa.Table:
        """Return some entries as the manifest stores them."""
        chosen = to_arrow(self._order[start:stop])
        return self._table.take(chosen).cast(MANIFEST)

    def column(self, name: str) -> Integers:
        """Return one integer column, entry by entry."""
        column: Integers = self._integers(name)[self._order]
        return column

    def digests(self, name: str) -> npt.NDArray[np.uint8]:
        """Return one column of digests or ids, entry by entry: (entries, bytes)."""
        column = self._table[name]
        if not len(column):
            return np.zeros((0, column.type.byte_width), np.uint8)
        array = column.chunk(0)  # `join_entries` leaves one
        _, content = array.buffers()
        values = np.frombuffer(content, np.uint8)
        stored = values.reshape(-1, array.type.byte_width)[array.offset :]
        chosen: npt.NDArray[np.uint8] = stored[self._order]
        return chosen

    @property
    def rows(self) -> int:
        """Of all entries, labelled or rejected."""
        rows = self.column("rows")
        return int(rows.sum())

    @property
    def rejected(self) -> int:
        """Rejected rows of all entries."""
        rejected = self.column("rejected")
        return int(rejected.sum())

    @property
    def size_bytes(self) -> int:
        """Of the data objects of all entries."""
        sizes = self.column("bytes")
        return int(sizes.sum())

    @property
    def made_on(self) -> list[str]:
        """The distinct devices and library versions."""
        # Not of all rows: what a mend replaced counts no more.
        chosen = to_arrow(self._order)
        column = self._table["made_on"].take(chosen)
        distinct = column.unique()
        return sorted(distinct.to_pylist())

    def positions(self, codes: Integers) -> Integers:
        """Find the positions of fragments; −1 for one that has no entry."""
        if not len(self):
            return np.full(len(codes), -1)
        found = np.searchsorted(self.codes, codes)
        found = np.minimum(found, len(self) - 1)  # beyond the last one, none is equal
        return np.where(self.codes[found] == codes, found, -1)

    def find(self, fragment: str) -> ManifestEntry | None:
        """Find the entry of one fragment, if there is one."""
        codes = np.array([parsed_code(fragment)])
        (position,) = self.positions(codes)
        return self[int(position)] if position >= 0 else None

    def of_shard(self, shard: int) -> list[ManifestEntry]:
        """Return the entries of one shard, in row order."""
        borders = [fragment_code(shard, 0), fragment_code(shard + 1, 0)]
        first, end = np.searchsorted(self.codes, borders)
        return self[int(first) : int(end)]

    @cached_property
    def label_hash(self) -> str:
        """sha256 over (shard, start, rows, columns_sha256) of each entry, little-endian."""
        kind = [("shard", "<i8"), ("start", "<i8"), ("rows", "<i8"), ("columns", "V32")]
        hashed = np.empty(len(self), kind)
        for name in ("shard", "start", "rows"):
            hashed[name] = self.column(name)
        if len(self):
            # a view as 32-byte values needs a row's bytes side by side
            columns = self.digests("columns_sha256")
            digests = np.ascontiguousarray(columns)
            hashed["columns"] = digests.view("V32")[:, 0]
        return hashlib.sha256(hashed.data).hexdigest()

    def _entries(self, rows: Integers) -> list[ManifestEntry]:
        chosen = self._table.take(to_arrow(rows))
        return table_entries(chosen)

    def _integers(self, name: str) -> Integers:
        return np.asarray(to_numbers(self._table[name]), np.int64)


def join_entries(tables: Iterable[pa.Table]) -> pa.Table:
    """Join tables of entries into one without chunks, texts by number."""
    parts = [_compact(table) for table in tables if len(table)]
    if not parts:
        return _IN_MEMORY.empty_table()
    joined = pa.concat_tables(parts)
    del parts
    if all(column.num_chunks == 1 for column in joined.columns):
        return joined
    columns = joined.unify_dictionaries().columns
    del joined
    whole = []
    # One by one, so that the joined columns and their pieces do not all lie in memory together.
    while columns:
        whole.append(columns.pop(0).combine_chunks())
    return pa.Table.from_arrays(whole, schema=_IN_MEMORY)


def _compact(table: pa.Table) -> pa.Table:
    return table if table.schema == _IN_MEMORY else table.cast(_IN_MEMORY)


def entries_table(entries: Iterable[ManifestEntry]) -> pa.Table:
    """Make a table of entries as the manifest stores them."""
    rows = [{name: getattr(entry, name) for name in MANIFEST.names} for entry in entries]
    for row in rows:
        for name in _HEX_COLUMNS:
            row[name] = bytes.fromhex(row[name])
    return pa.Table.from_pylist(rows, MANIFEST)


def table_entries(table: pa.Table) -> list[ManifestEntry]:
    """Make entries of a table: the inverse of `entries_table`."""
    rows = table.to_pylist()
    for row in rows:
        for name in _HEX_COLUMNS:
            row[name] = row[name].hex()
    return [ManifestEntry(**row) for row in rows]


def fragment_codes(shard: npt.NDArray[Any], number: npt.NDArray[Any]) -> Integers:
    """Number fragments, ascending in (shard, row) order."""
    high = shard.astype(np.int64) << _NUMBER_BITS
    return high | number.astype(np.int64)


def fragment_code(shard: int, number: int) -> int:
    """Number one fragment as `fragment_codes` does."""
    return (shard << _NUMBER_BITS) | number


def parsed_code(fragment: str) -> int:
    """Find the code of a fragment's id."""
    # Not by position: numbers beyond six digits make an id longer.
    shard, number = fragment.split("-")
    return fragment_code(int(shard), int(number))


def data_key(fragment: str, attempt: str, file_format: str) -> str:
    """Return `data/<fragment>/<attempt>.<format>`."""
    return f"data/{fragment}/{attempt}.{file_format}"


def rejects_key(fragment: str, attempt: str) -> str:
    """Return `rejects/<fragment>/<attempt>.arrow`."""
    return f"rejects/{fragment}/{attempt}.arrow"


def commit_key(fragment: str, generation: int) -> str:
    """Return `commits/<fragment>.<generation>.json`."""
    return f"commits/{fragment}.{generation}.json"
