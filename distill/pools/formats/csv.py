"""CSV with a header row, read as text: what a cell means is for features and targets to say, so
"007" stays what it is.

A row is a line that is not blank; quoted cells may hold line breaks. An empty cell is null, a
quoted empty one is empty text. A row with more or fewer cells than the header keeps its slot.
pyarrow numbers such rows itself when it reads on one thread, so there is one way of reading and
nothing to disagree with. A last row of our own tells a quote that is never closed, which would
swallow all rows behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.csv

from distill.core.errors import PoolError
from distill.pools.formats.base import (
    UNDECODABLE,
    Footer,
    Rejected,
    RowBatch,
    Streamed,
    check_columns,
)
from distill.pools.formats.whole_file import read_whole

_LARGEST_ROW_BYTES = 1 << 24
_END = "distill's last row"


class CsvShard:
    """One CSV file."""

    def __init__(self, source: pa.NativeFile, where: str) -> None:
        self._where = where
        self._content = read_whole(source, where)

    def footer(self) -> Footer:
        rows = len(self._parse(self._names[:1]).table)
        return Footer(
            (rows,) if rows else (), pa.schema([(name, pa.string()) for name in self._names])
        )

    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        check_columns(
            pa.schema([(name, pa.string()) for name in self._names]), columns, self._where
        )
        return self._parse(columns).cut(rows.start, len(rows))

    def stream(self, rows: range, columns: Sequence[str], part_rows: int) -> Streamed:  # noqa: ARG002  it is parsed whole
        return Streamed(rows, iter([self.read(rows, columns)]))

    @cached_property
    def _names(self) -> list[str]:
        if not self._content.strip():
            raise PoolError(
                f"{self._where}: has no header row. Its first row must name the columns."
            )
        stream = pa.csv.open_csv(
            pa.BufferReader(self._content + b"\n"),
            read_options=_reading(),
            parse_options=_parsing({}),
        )
        names: list[str] = stream.schema.names
        return names

    def _parse(self, columns: Sequence[str]) -> RowBatch:
        rejected: Rejected = {}
        end = ",".join([_END] * len(self._names)).encode()
        table = pa.csv.read_csv(
            pa.BufferReader(b"".join([self._content, b"\n", end, b"\n"])),
            read_options=_reading(),
            parse_options=_parsing(rejected),
            convert_options=pa.csv.ConvertOptions(
                include_columns=list(columns),
                column_types=dict.fromkeys(
                    columns, pa.binary()
                ),  # text that is no UTF-8 is one row's trouble
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        last = table.column(0)[-1].as_py() if len(table) else None
        if last != _END.encode():
            raise PoolError(
                f"{self._where}: a quote is opened and never closed. Close it, or double quotes"
                " within cells."
            )
        texts = [
            pa.chunked_array([chunk.view(pa.string()) for chunk in column.chunks], pa.string())
            for column in table.columns
        ]
        return _with_slots(pa.table(texts, list(columns)).slice(0, len(table) - 1), rejected)


def _reading() -> pa.csv.ReadOptions:
    return pa.csv.ReadOptions(use_threads=False, block_size=_LARGEST_ROW_BYTES)


def _parsing(rejected: Rejected) -> pa.csv.ParseOptions:
    """Parsing that writes rows with another number of cells down."""

    def skip(row: pa.csv.InvalidRow) -> str:
        said = (
            f"the row has {row.actual_columns} cells, where the header has {row.expected_columns}"
        )
        rejected[row.number - 2] = (UNDECODABLE, said)  # pyarrow counts from 1, and the header
        return "skip"

    return pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip)


def _with_slots(table: pa.Table, rejected: Rejected) -> RowBatch:
    """The rows that were skipped put back, as nulls."""
    if not rejected:
        return RowBatch(table)
    skipped = np.zeros(len(table) + len(rejected), np.bool_)
    skipped[list(rejected)] = True
    places = np.cumsum(~skipped) - 1
    return RowBatch(table.take(pa.array(places, mask=skipped)), rejected)
