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
from distill.pools.formats.base import UNDECODABLE, Rejected, RowBatch, check_columns
from distill.pools.formats.shard_file import Footer, ShardFile
from distill.pools.formats.whole_file import read_whole

_LARGEST_ROW_BYTES = 1 << 24
_END = "distill's last row"


class CsvShard(ShardFile):
    """One CSV file."""

    name = "csv"
    title = "CSV"
    endings = (".csv",)
    may_be_packed = True

    def __init__(self, source: pa.NativeFile, where: str) -> None:
        super().__init__(source, where)
        self._content = read_whole(source, where)

    def footer(self) -> Footer:
        rows = len(self._parse(self._schema.names[:1]).table)
        groups = (rows,) if rows else ()
        return Footer(groups, self._schema)

    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        check_columns(self._schema, columns, self._where)
        return self._parse(columns).cut(rows.start, len(rows))

    @cached_property
    def _schema(self) -> pa.Schema:
        """The header's names, each of text."""
        if not self._content.strip():
            raise PoolError(
                f"{self._where}: has no header row. Its first row must name the columns."
            )
        content = pa.BufferReader(self._content + b"\n")
        options = _parse_options({})
        reader = pa.csv.open_csv(content, read_options=_read_options(), parse_options=options)
        return pa.schema([(name, pa.string()) for name in reader.schema.names])

    def _parse(self, columns: Sequence[str]) -> RowBatch:
        rejected: Rejected = {}
        table = pa.csv.read_csv(
            self._with_end(),
            read_options=_read_options(),
            parse_options=_parse_options(rejected),
            convert_options=_convert_options(columns),
        )
        last = table.column(0)[-1].as_py() if len(table) else None
        if last != _END.encode():
            raise PoolError(
                f"{self._where}: a quote is opened and never closed."
                " Close it, or double quotes within cells."
            )
        texts = [_as_text(column) for column in table.columns]
        rows = pa.table(texts, list(columns))
        return _with_slots(rows.slice(0, len(rows) - 1), rejected)

    def _with_end(self) -> pa.BufferReader:
        """The content with a row of `_END` behind it."""
        end = ",".join([_END] * len(self._schema.names))
        return pa.BufferReader(b"".join([self._content, b"\n", end.encode(), b"\n"]))


def _read_options() -> pa.csv.ReadOptions:
    return pa.csv.ReadOptions(use_threads=False, block_size=_LARGEST_ROW_BYTES)


def _parse_options(rejected: Rejected) -> pa.csv.ParseOptions:
    """Options that write rows with another number of cells into `rejected`."""

    def skip(row: pa.csv.InvalidRow) -> str:
        message = (
            f"the row has {row.actual_columns} cells, where the header has {row.expected_columns}"
        )
        rejected[row.number - 2] = (UNDECODABLE, message)  # pyarrow counts from 1, and the header
        return "skip"

    return pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip)


def _convert_options(columns: Sequence[str]) -> pa.csv.ConvertOptions:
    return pa.csv.ConvertOptions(
        include_columns=list(columns),
        # not as text: a cell that is no UTF-8 would stop the file, and is one row's trouble
        column_types=dict.fromkeys(columns, pa.binary()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Bytes seen as text, unchecked: `open.plain_columns` rejects what is no UTF-8."""
    chunks = [chunk.view(pa.string()) for chunk in column.chunks]
    return pa.chunked_array(chunks, pa.string())


def _with_slots(table: pa.Table, rejected: Rejected) -> RowBatch:
    """The rows that were skipped put back, as nulls."""
    if not rejected:
        return RowBatch(table)
    skipped = np.zeros(len(table) + len(rejected), np.bool_)
    skipped[list(rejected)] = True
    numbers = np.cumsum(~skipped) - 1
    return RowBatch(table.take(pa.array(numbers, mask=skipped)), rejected)
