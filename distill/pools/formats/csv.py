"""CSV with a header row, read as text: what a cell means is for features and targets to say, so
"007" stays what it is.

A row is a line that is not blank; quoted cells may hold line breaks. An empty cell is null, a
quoted empty one is empty text. A row with more or fewer cells than the header keeps its slot, and
so does one whose quotes are wrong (`csv_quotes`). pyarrow numbers such rows itself when it reads on
one thread, so there is one way of reading and nothing to disagree with. A last row of our own tells
a quote that is never closed, which would swallow all rows behind it.

Files of another dialect are read as the pool's `csv` says; `.tsv` has tabs between its cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from distill.core.errors import PoolError
from distill.pools.formats.base import UNDECODABLE, Rejected, RowBatch, check_columns
from distill.pools.formats.csv_quotes import CsvMarks, header_damage, misquoted_rows
from distill.pools.formats.shard_file import Footer, ShardFile
from distill.pools.formats.whole_file import read_whole
from distill.spec.pools import CsvDialect

_LARGEST_ROW_BYTES = 1 << 24
# in which a header ends, as a rule: pyarrow parses all of it that it is given
_HEADER_BYTES = 1 << 16
_END = "distillsLastRow"  # letters alone, so that it is one cell in every dialect
_TABS = ".tsv"
_OTHER_DELIMITERS = ";\t|"


def usual_delimiter(where: str) -> str:
    """Return what stands between the cells of a file by its name."""
    name = where.rpartition("/")[2].lower()
    return "\t" if name.endswith(_TABS) or f"{_TABS}." in name else ","


class CsvShard(ShardFile):
    """One CSV file."""

    name = "csv"
    title = "CSV"
    endings = (".csv", _TABS)
    may_be_packed = True

    def __init__(
        self, source: pa.NativeFile, where: str, dialect: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(source, where)
        self._dialect = CsvDialect.model_validate(dialect or {}, strict=False)
        self._content = read_whole(source, where, self._dialect.encoding)
        escape = (self._dialect.escape or "").encode()
        self._marks = CsvMarks(self._delimiter.encode(), self._dialect.quote.encode(), escape)

    @property
    def _delimiter(self) -> str:
        return self._dialect.delimiter or usual_delimiter(self._where)

    def footer(self) -> Footer:
        self._require_delimiter()
        rejected: Rejected = {}
        rows = len(self._parse(self._schema.names[:1], rejected)) + len(rejected)
        groups = (rows,) if rows else ()
        return Footer(groups, self._schema)

    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        check_columns(self._schema, columns, self._where)
        rejected: Rejected = {}
        table = self._parse(columns, rejected)
        header_rows = 0 if self._dialect.header else 1
        total = len(table) + len(rejected) + header_rows
        misquoted = misquoted_rows(
            self._content, self._marks, len(self._schema), header_rows=header_rows, rows=total
        )
        return _with_slots(table, rejected, misquoted).cut(rows.start, len(rows))

    @cached_property
    def _schema(self) -> pa.Schema:
        """The header's names, each of text."""
        if self._dialect.header is not None:
            return pa.schema([(name, pa.string()) for name in self._dialect.header])
        if not self._content.strip():
            message = f"{self._where}: has no header row. Its first row must name the columns."
            raise PoolError(message)
        # whole lines, since half a header would pass for one
        lines = self._content[: self._content.rfind(b"\n", 0, _HEADER_BYTES) + 1]
        names = self._header(lines or self._content)
        self._require_quotes(len(names))
        return pa.schema([(name, pa.string()) for name in names])

    def _header(self, content: bytes) -> list[str]:
        ended = content + b"\n"
        source = pa.BufferReader(ended)
        options = self._parse_options({})
        reader = pa.csv.open_csv(source, read_options=self._read_options, parse_options=options)
        try:
            names: list[str] = reader.schema.names
        except UnicodeDecodeError as error:
            raise PoolError(
                f"{self._where}: its header is no UTF-8: {error}."
                ' Say how it is stored, as csv = { encoding = "cp1252" } for the pool.'
            ) from None
        return names

    def _require_quotes(self, columns: int) -> None:
        """Refuse a header whose quotes are wrong."""
        # rows behind it may be lost in its names
        damage = header_damage(self._content, self._marks, columns) if self._marks.quote else ""
        if damage:
            raise PoolError(
                f"{self._where}: its header is misquoted: {damage}. Correct the file's first line."
            )

    def _require_delimiter(self) -> None:
        """Refuse a header that is one cell only because another delimiter stands in it."""
        if len(self._schema) != 1 or self._dialect.delimiter or self._dialect.header:
            return
        (name,) = self._schema.names
        others = [other for other in _OTHER_DELIMITERS if other in name]
        if others:
            raise PoolError(
                f"{self._where}: its header is one cell, {name!r}, which looks like several with"
                f" another delimiter. Say csv = {{ delimiter = {_toml(others[0])} }} for the pool"
                f" (or {_toml(self._delimiter)}, if it is one column)."
            )

    def _parse(self, columns: Sequence[str], rejected: Rejected) -> pa.Table:
        """All rows but those with another number of cells, which are written into `rejected`."""
        table = pa.csv.read_csv(
            self._with_end(),
            read_options=self._read_options,
            parse_options=self._parse_options(rejected),
            convert_options=self._convert_options(columns),
        )
        last = table.column(0)[-1].as_py() if len(table) else None
        if last != _END.encode():
            raise PoolError(
                f"{self._where}: a quote is opened and never closed."
                f" Close it, or double quotes within cells{self._escape_hint}."
            )
        texts = [_as_text(column) for column in table.columns]
        return pa.table(texts, list(columns)).slice(0, len(table) - 1)

    @property
    def _escape_hint(self) -> str:
        if self._dialect.escape is None and b'\\"' in self._content:
            return "; if a backslash escapes quotes, say csv = { escape = '\\' } for the pool"
        return ""

    def _with_end(self) -> pa.BufferReader:
        """The content with a row of `_END` behind it."""
        end = self._delimiter.join([_END] * len(self._schema.names))
        return pa.BufferReader(b"".join([self._content, b"\n", end.encode(), b"\n"]))

    @property
    def _read_options(self) -> pa.csv.ReadOptions:
        column_names = self._dialect.header
        return pa.csv.ReadOptions(
            use_threads=False, block_size=_LARGEST_ROW_BYTES, column_names=column_names
        )

    def _parse_options(self, rejected: Rejected) -> pa.csv.ParseOptions:
        """Options that write rows with another number of cells into `rejected`."""
        before = 1 if self._dialect.header else 2  # pyarrow counts from 1, and the header

        def skip(row: pa.csv.InvalidRow) -> str:
            message = (
                f"the row has {row.actual_columns} cells, where the header has"
                f" {row.expected_columns}"
            )
            rejected[row.number - before] = (UNDECODABLE, message)
            return "skip"

        return pa.csv.ParseOptions(
            delimiter=self._delimiter,
            quote_char=self._dialect.quote or False,
            escape_char=self._dialect.escape or False,
            newlines_in_values=True,
            invalid_row_handler=skip,
        )

    def _convert_options(self, columns: Sequence[str]) -> pa.csv.ConvertOptions:
        return pa.csv.ConvertOptions(
            include_columns=list(columns),
            # not as text: a cell that is no UTF-8 would stop the file, and is one row's trouble
            column_types=dict.fromkeys(columns, pa.binary()),
            null_values=list(self._dialect.nulls),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Bytes seen as text, unchecked."""
    # `open.plain_columns` rejects what is no UTF-8
    chunks = [chunk.view(pa.string()) for chunk in column.chunks]
    return pa.chunked_array(chunks, pa.string())


def _with_slots(table: pa.Table, skipped: Rejected, misquoted: Rejected) -> RowBatch:
    """All rows: those that were skipped put back, and those that are misquoted, as nulls."""
    rejected = skipped | misquoted
    if not rejected:
        return RowBatch(table)
    is_skipped = np.zeros(len(table) + len(skipped), np.bool_)
    places = list(skipped)
    is_skipped[places] = True
    is_null = is_skipped.copy()
    is_null[list(misquoted)] = True
    numbers = np.cumsum(~is_skipped) - 1
    return RowBatch(table.take(pa.array(numbers, mask=is_null)), rejected)


def _toml(letter: str) -> str:
    return '"\\t"' if letter == "\t" else f'"{letter}"'
