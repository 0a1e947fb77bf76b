"""What the files of every format are to the rest: a footer, and rows by number.

An indexed format (Parquet, Arrow IPC) has row groups, and a run of rows is read with its row groups
alone: it costs all that it touches, so row groups of about `fragment_rows` rows are the cheapest to
label. The others (JSONL, CSV) are one group, read whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from distill.core.errors import PoolError

UNDECODABLE = "undecodable"
"""Reason code of what stands in the file and cannot be read as what it should be."""
Rejected = dict[int, tuple[str, str]]
"""Offset of a row → reason code and message."""


class Copied(str):
    """The name of a column that is asked for to be copied, not to be understood: JSON lines of
    several kinds, or objects, are its text then."""


@dataclass(frozen=True)
class Footer:
    """What a file says of itself: rows of each row group, and its Arrow schema (of the first rows,
    where a format has none)."""

    row_groups: tuple[int, ...]
    schema: pa.Schema


@dataclass(frozen=True)
class RowBatch:
    """Rows of one shard. Rows in `rejected` keep their slot, null."""

    table: pa.Table
    rejected: Rejected = field(default_factory=dict)

    def cut(self, start: int, rows: int) -> RowBatch:
        """`rows` rows from `start` on, or as many as there are."""
        kept = {
            row - start: said for row, said in self.rejected.items() if start <= row < start + rows
        }
        return RowBatch(self.table.slice(start, rows), kept)


class Shard(Protocol):
    """One open file of a format."""

    def footer(self) -> Footer:
        """Its row groups and schema."""

    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        """`columns` of the rows that it has of `rows`. Raises PoolError where it lacks a column."""

    def stream(self, rows: range, columns: Sequence[str], part_rows: int) -> Streamed:
        """`rows` and what else lies in their row groups, decoded about `part_rows` at a time where
        the format can. Raises PoolError likewise."""


@dataclass(frozen=True)
class Streamed:
    """Consecutive rows of a shard, in parts; an indexed format decodes each when it is asked for."""

    rows: range
    parts: Iterator[RowBatch]


def groups_of(sizes: Sequence[int], rows: range) -> tuple[list[int], range]:
    """The row groups that hold `rows`, and all their rows."""
    wanted: list[int] = []
    first = last = start = 0
    for number, size in enumerate(sizes):
        stop = start + size
        if start < rows.stop and stop > rows.start:
            first, last = start if not wanted else first, stop
            wanted.append(number)
        start = stop
    return wanted, range(first, last)


def check_columns(schema: pa.Schema, columns: Sequence[str], where: str) -> None:
    """Refuse a shard that lacks a column, has it twice, or carries an extension type in it. Raises
    PoolError."""
    for name in columns:
        if not schema.names:
            raise PoolError(
                f"{where}: no column {name!r}, nor any other. Put rows there, or take the file out."
            )
        times = schema.names.count(name)
        if times != 1:
            said = f"no column {name!r}" if not times else f"{times} columns {name!r}"
            raise PoolError(
                f"{where}: {said}. It has: {', '.join(schema.names)}. Correct the job, or the file."
            )
        if _holds_extension(schema.field(name).type):
            raise PoolError(
                f"{where}: column {name!r} is an Arrow extension type, {schema.field(name).type}."
                " Store plain types."
            )


def check_keys(schema: pa.Schema, keys: Sequence[str], where: str) -> None:
    """Refuse pass-through columns that are neither text nor integers. Raises PoolError."""
    for name in keys:
        kind = schema.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (is_text(kind) or pa.types.is_integer(kind)):
            raise PoolError(
                f"{where}: the key {name!r} is of type {kind}. Keys are text or integers; take it"
                " out."
            )


def is_text(kind: pa.DataType) -> bool:
    """Whether a type holds text."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _holds_extension(kind: pa.DataType) -> bool:
    parts = (
        [kind.value_type]
        if pa.types.is_dictionary(kind)
        else [kind.field(n).type for n in range(kind.num_fields)]
    )
    return isinstance(kind, pa.BaseExtensionType) or any(map(_holds_extension, parts))
