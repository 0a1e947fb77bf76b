"""Rows of a file as every format gives them, and what is refused of their columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from distill.core.errors import PoolError

# reason code of what stands in the file and cannot be read as what it should be
UNDECODABLE = "undecodable"
Rejected = dict[int, tuple[str, str]]  # offset of a row → reason code and message


class Copied(str):
    """The name of a column that is to be copied, not to be understood: JSON lines of several kinds,
    or objects, are its text then."""


@dataclass(frozen=True)
class RowBatch:
    """Rows of one shard. Rows in `rejected` keep their slot, null."""

    table: pa.Table
    rejected: Rejected = field(default_factory=dict)

    def cut(self, start: int, rows: int) -> RowBatch:
        """Return `rows` rows from `start` on, or as many as there are."""
        stop = start + rows
        rejected = {
            row - start: reason for row, reason in self.rejected.items() if start <= row < stop
        }
        return RowBatch(self.table.slice(start, rows), rejected)


def groups_of(sizes: Sequence[int], rows: range) -> tuple[list[int], range]:
    """Return the row groups that hold `rows`, and all their rows; `sizes` are the rows of each."""
    wanted: list[int] = []
    first = 0
    last = 0
    start = 0
    for number, size in enumerate(sizes):
        stop = start + size
        if start < rows.stop and stop > rows.start:
            first = first if wanted else start
            last = stop
            wanted.append(number)
        start = stop
    groups = range(first, last)
    return wanted, groups


def check_columns(schema: pa.Schema, columns: Sequence[str], where: str) -> None:
    """Refuse a shard that lacks a column, has it twice, or carries an extension type in it.

    An extension type may run code of its own when it is read. Raises PoolError."""
    present = schema.names
    for name in columns:
        if not present:
            raise PoolError(
                f"{where}: no column {name!r}, nor any other. Put rows there, or take the file out."
            )
        times = present.count(name)
        if times != 1:
            found = f"{times} columns {name!r}" if times else f"no column {name!r}"
            names = ", ".join(present)
            raise PoolError(f"{where}: {found}. It has: {names}. Correct the job, or the file.")
        column = schema.field(name)
        kind = column.type
        if _holds_extension(kind):
            raise PoolError(
                f"{where}: column {name!r} is an Arrow extension type, {kind}. Store plain types."
            )


def check_keys(schema: pa.Schema, keys: Sequence[str], where: str) -> None:
    """Refuse pass-through columns that are neither text nor integers. Raises PoolError."""
    for name in keys:
        column = schema.field(name)
        kind = value_type(column.type)
        if not is_text(kind) and not pa.types.is_integer(kind):
            raise PoolError(
                f"{where}: the key {name!r} is of type {kind}."
                " Keys are text or integers; take it out."
            )


def value_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column's values, of a dictionary that of what it holds."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    """Whether a type holds text."""
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def valid_text(column: pa.ChunkedArray, name: str, rejected: Rejected) -> pa.ChunkedArray:
    """Return a column of text; what is no UTF-8 is null, and its row `rejected`."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return _decoded_text(column, name, rejected)
    return column


def _decoded_text(column: pa.ChunkedArray, name: str, rejected: Rejected) -> pa.ChunkedArray:
    texts = []
    for row, content in enumerate(column.cast(pa.large_binary()).to_pylist()):
        try:
            texts.append(None if content is None else content.decode("utf-8"))
        except UnicodeDecodeError as error:
            message = f"column {name!r} holds text that is no UTF-8: {error}"
            reason = (UNDECODABLE, message)
            rejected.setdefault(row, reason)
            texts.append(None)
    return pa.chunked_array([texts], column.type)


def _holds_extension(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return True
    if pa.types.is_dictionary(kind):
        return _holds_extension(kind.value_type)
    fields = [kind.field(number) for number in range(kind.num_fields)]
    return any(_holds_extension(part.type) for part in fields)
