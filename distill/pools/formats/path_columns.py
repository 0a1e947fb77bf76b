"""Columns that stand in a file's path alone, as Hive and Spark write them: `year=2023/a.parquet`.

Their values are text in every file, as the cells of CSV are: what one means is for features, targets
and keys to say, so "01" stays what it is. A column that the file has itself counts before the path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from urllib.parse import unquote

import pyarrow as pa

from distill.pools.formats.base import RowBatch, check_columns
from distill.pools.formats.shard_file import Footer, ShardFile, Streamed

_NULL = "__HIVE_DEFAULT_PARTITION__"

PathColumns = Mapping[str, str | None]
"""The one value of each column."""


def path_columns(key: str) -> PathColumns:
    """Return the columns that a file's key tells by its folders."""
    found = {}
    for folder in key.split("/")[:-1]:
        name, is_column, value = folder.partition("=")
        if name and is_column:
            found[unquote(name)] = None if value == _NULL else unquote(value)
    return found


class PathShard(ShardFile):
    """A shard with the columns of its path beside its own."""

    def __init__(self, shard: ShardFile, where: str, columns: PathColumns) -> None:
        self._shard = shard
        self._where = where
        self._columns = columns

    @cached_property
    def _footer(self) -> Footer:
        own = self._shard.footer()
        added = tuple(name for name in self._columns if name not in own.schema.names)
        fields = [pa.field(name, pa.string()) for name in added]
        return Footer(own.row_groups, pa.schema([*own.schema, *fields]), added)

    def footer(self) -> Footer:
        return self._footer

    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        return self._with_path(self._shard.read(rows, self._own(columns)), columns)

    def stream(self, rows: range, columns: Sequence[str], part_rows: int) -> Streamed:
        streamed = self._shard.stream(rows, self._own(columns), part_rows)
        return Streamed(streamed.rows, (self._with_path(part, columns) for part in streamed.parts))

    def _own(self, columns: Sequence[str]) -> list[str]:
        """The columns that the file itself is to give: one at least, which says how many rows."""
        if not self._columns.keys() & set(columns):
            return list(columns)
        check_columns(self._footer.schema, columns, self._where)
        added = self._footer.path_columns
        names = [name for name in self._footer.schema.names if name not in added]
        return [name for name in columns if name not in added] or names[:1]

    def _with_path(self, batch: RowBatch, columns: Sequence[str]) -> RowBatch:
        table = batch.table
        for name in columns:
            if name not in table.column_names:
                value = pa.scalar(self._columns[name], pa.string())
                table = table.append_column(name, pa.repeat(value, len(table)))
        return RowBatch(table.select(list(columns)), batch.rejected)
