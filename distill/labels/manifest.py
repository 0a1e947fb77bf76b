"""The committed fragments of one label set, in columns: the highest generation of each, in (shard,
row) order.

A `Line` is an object of half a kilobyte; two hundred thousand of them would be a hundred megabytes.
So lines live in an Arrow table (about 190 bytes each) and become objects only while somebody looks
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

from distill.core.schema import MANIFEST
from distill.pools.fragments import fragment_id

Integers = npt.NDArray[np.int64]

_NUMBER_BITS = 24
_HEX = tuple(field.name for field in MANIFEST if pa.types.is_fixed_size_binary(field.type))
_PACKED = pa.schema(
    [
        (
            field.with_type(pa.dictionary(pa.int32(), pa.string()))
            if pa.types.is_string(field.type)
            else field
        )
        for field in MANIFEST
    ]
)
_AT_ONCE = 2_000


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One committed fragment. Digests and ids are hex."""

    shard: int
    number: int
    """Of the fragment within its shard."""
    generation: int
    start: int
    rows: int
    rejected: int
    bytes: int
    format: str
    """Of the data object: `arrow` or `parquet`."""
    attempt: str
    shard_id: str
    sha256: str
    """Of the data object."""
    xxh3: str
    """Fast digest of the data object, checked at each read."""
    columns_sha256: str
    """Of the decoded columns: the same wherever and however often the fragment is labelled."""
    made_on: str
    """Device and library versions in one word: labels made on the same are the same bytes."""

    @property
    def fragment(self) -> str:
        """The fragment's id."""
        return fragment_id(self.shard, self.number)

    @property
    def data(self) -> str:
        """Where its labels lie."""
        return data_key(self.fragment, self.attempt, self.format)

    @property
    def rejects(self) -> str | None:
        """Where its rejected rows are told; None where there are none."""
        return rejects_key(self.fragment, self.attempt) if self.rejected else None


class Manifest(Sequence[ManifestEntry]):
    """Lines in (shard, row) order; of two generations of a fragment, the higher."""

    def __init__(self, table: pa.Table) -> None:
        """`table` under `MANIFEST`, in any order, generations of a fragment side by side or not."""
        self._table = join_entries([table])
        codes = fragment_codes(self._integers("shard"), self._integers("number"))
        order = np.lexsort((self._integers("generation"), codes))
        last = (
            np.append(codes[order][1:] != codes[order][:-1], True)
            if len(order)
            else np.zeros(0, np.bool_)
        )
        self._order = order[last]
        self.codes = codes[self._order]
        """Of each line's fragment, ascending."""

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[ManifestEntry]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self._lines(self._order[start : start + _AT_ONCE])

    @overload
    def __getitem__(self, place: int) -> ManifestEntry: ...
    @overload
    def __getitem__(self, place: slice) -> list[ManifestEntry]: ...
    def __getitem__(self, place: int | slice) -> ManifestEntry | list[ManifestEntry]:
        if isinstance(place, slice):
            return self._lines(self._order[place])
        return self._lines(self._order[[place]])[0]

    def table(self, start: int, stop: int) -> pa.Table:
        """Some lines as the manifest stores them."""
        return self._table.take(pa.array(self._order[start:stop])).cast(MANIFEST)

    def column(self, name: str) -> Integers:
        """One integer column, line by line."""
        column: Integers = self._integers(name)[self._order]
        return column

    def digests(self, name: str) -> npt.NDArray[np.uint8]:
        """One column of digests or ids, line by line: (lines, bytes)."""
        column = self._table[name].combine_chunks()
        array = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        width = array.type.byte_width
        values: npt.NDArray[np.uint8] = np.frombuffer(array.buffers()[1], np.uint8).reshape(
            -1, width
        )
        chosen: npt.NDArray[np.uint8] = values[array.offset :][: len(array)][self._order]
        return chosen

    @property
    def rows(self) -> int:
        """Of all lines, labelled or rejected."""
        return int(self.column("rows").sum())

    @property
    def rejected(self) -> int:
        """Rejected rows of all lines."""
        return int(self.column("rejected").sum())

    @property
    def made_on(self) -> list[str]:
        """The distinct devices and library versions."""
        return sorted(self._table["made_on"].take(pa.array(self._order)).unique().to_pylist())

    def places(self, codes: Integers) -> Integers:
        """Where fragments stand; −1 for one that has no line."""
        if not len(self):
            return np.full(len(codes), -1)
        found = np.minimum(np.searchsorted(self.codes, codes), len(self) - 1)
        return np.where(self.codes[found] == codes, found, -1)

    def find(self, fragment: str) -> ManifestEntry | None:
        """The line of one fragment, if there is one."""
        place = int(self.places(np.array([parsed_code(fragment)]))[0])
        return self[place] if place >= 0 else None

    def of_shard(self, shard: int) -> list[ManifestEntry]:
        """The lines of one shard, in row order."""
        first, last = np.searchsorted(
            self.codes, [shard << _NUMBER_BITS, (shard + 1) << _NUMBER_BITS]
        )
        return self[int(first) : int(last)]

    @cached_property
    def label_hash(self) -> str:
        """sha256 over (shard, start, rows, columns_sha256) of each line, little-endian."""
        kind = [("shard", "<i8"), ("start", "<i8"), ("rows", "<i8"), ("columns", "V32")]
        rows = np.empty(len(self), kind)
        for name in ("shard", "start", "rows"):
            rows[name] = self.column(name)
        if len(self):
            rows["columns"] = np.ascontiguousarray(self.digests("columns_sha256")).view("V32")[:, 0]
        return hashlib.sha256(rows.data).hexdigest()

    def _integers(self, name: str) -> Integers:
        return np.asarray(self._table[name].to_numpy(), np.int64)

    def _lines(self, places: Integers) -> list[ManifestEntry]:
        return table_entries(self._table.take(pa.array(places)))


def join_entries(tables: Iterable[pa.Table]) -> pa.Table:
    """Tables of lines as one without chunks. A text has few distinct values: it takes four bytes a
    line instead of a hundred."""
    packed = [
        table if table.schema == _PACKED else table.cast(_PACKED) for table in tables if len(table)
    ]
    joined = pa.concat_tables(packed or [_PACKED.empty_table()])
    del packed
    if all(column.num_chunks == 1 for column in joined.columns):
        return joined
    columns, whole = joined.unify_dictionaries().columns, []
    del joined
    while (
        columns
    ):  # one by one, so that what is joined and what it was joined from do not both lie in memory
        whole.append(columns.pop(0).combine_chunks())
    return pa.Table.from_arrays(whole, schema=_PACKED)


def entries_table(lines: Iterable[ManifestEntry]) -> pa.Table:
    """Lines as the manifest stores them."""
    rows = [{name: getattr(line, name) for name in MANIFEST.names} for line in lines]
    for row in rows:
        row.update({name: bytes.fromhex(row[name]) for name in _HEX})
    return pa.Table.from_pylist(rows, MANIFEST)


def table_entries(table: pa.Table) -> list[ManifestEntry]:
    """The inverse of `entries_table`."""
    return [
        ManifestEntry(**{**row, **{name: row[name].hex() for name in _HEX}})
        for row in table.to_pylist()
    ]


def fragment_codes(shard: npt.NDArray[Any], number: npt.NDArray[Any]) -> Integers:
    """One integer a fragment, ascending in (shard, row) order."""
    return (shard.astype(np.int64) << _NUMBER_BITS) | number.astype(np.int64)


def fragment_code(shard: int, number: int) -> int:
    """The same of one fragment."""
    return (shard << _NUMBER_BITS) | number


def parsed_code(fragment: str) -> int:
    """The code of a fragment's id."""
    shard, number = fragment.split("-")
    return fragment_code(int(shard), int(number))


def data_key(fragment: str, attempt: str, file_format: str) -> str:
    """`data/<fragment>/<attempt>.<format>`."""
    return f"data/{fragment}/{attempt}.{file_format}"


def rejects_key(fragment: str, attempt: str) -> str:
    """`rejects/<fragment>/<attempt>.arrow`."""
    return f"rejects/{fragment}/{attempt}.arrow"


def commit_key(fragment: str, generation: int) -> str:
    """`commits/<fragment>.<generation>.json`."""
    return f"commits/{fragment}.{generation}.json"
