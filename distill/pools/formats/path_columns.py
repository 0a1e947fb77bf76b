"""Columns that stand in a file's path alone, as Hive and Spark write them: `year=2023/a.parquet`.

Their values are text in every file, as the cells of CSV are: what one means is for features,
targets and keys to say, so "01" stays what it is. A column that the file has itself counts before
the path.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from urllib.parse import unquote

import pyarrow as pa

from distill.core.errors import PoolError
from distill.pools.formats.base import RowBatch, check_columns
from distill.pools.formats.shard_file import Footer, ShardFile, Streamed

_NULL = "__HIVE_DEFAULT_PARTITION__"

PathColumns = Mapping[str, str | None]  # the one value of each column


def path_columns(key: str) -> PathColumns:
    """Return the columns that a file's key tells by its folders."""
    found = {}
    for folder in key.split("/")[:-1]:
        name, is_column, value = folder.partition("=")
        if name and is_column:
            found[unquote(name)] = None if value == _NULL else unquote(value)
    return found


def require_none_in_paths(keys: Iterable[str], private: Collection[str], pool: str) -> None:
    """Refuse private columns in paths, which are stored and logged. Raises PoolError."""
    if not private:
        return
    found = {name for key in keys for name in path_columns(key)} & set(private)
    if found:
        # none of the paths is quoted
        raise PoolError(
            f"pools.{pool}: private columns {sorted(found)} stand in the paths of its files, which"
            " are stored and logged. Move the files to folders that do not say them."
        )


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
        own = self._own(columns)
        if not own:
            clipped = self._clipped(rows)
            return self._path_alone(clipped, columns)
        return self._with_path(self._shard.read(rows, own), columns)

    def stream(self, rows: range, columns: Sequence[str], part_rows: int) -> Streamed:
        own = self._own(columns)
        if not own:
            clipped = self._clipped(rows)
            return Streamed(clipped, iter([self._path_alone(clipped, columns)]))
        streamed = self._shard.stream(rows, own, part_rows)
        return Streamed(streamed.rows, (self._with_path(part, columns) for part in streamed.parts))

    def _own(self, columns: Sequence[str]) -> list[str]:
        """The columns that the file itself is to give. Raises PoolError where it has one of them
        not."""
        if not self._columns.keys() & set(columns):
            return list(columns)
        check_columns(self._footer.schema, columns, self._where)
        return [name for name in columns if name not in self._footer.path_columns]

    def _clipped(self, rows: range) -> range:
        """Those of `rows` that the file has."""
        return range(sum(self._footer.row_groups))[rows.start : rows.stop]

    def _path_alone(self, rows: range, columns: Sequence[str]) -> RowBatch:
        """Rows of nothing but the path's columns."""
        # nothing of the file is read for them: any of its columns could be private
        values = [pa.scalar(self._columns[name], pa.string()) for name in columns]
        arrays = [pa.repeat(value, len(rows)) for value in values]
        return RowBatch(pa.table(arrays, list(columns)))

    def _with_path(self, batch: RowBatch, columns: Sequence[str]) -> RowBatch:
        table = batch.table
        for name in columns:
            if name not in table.column_names:
                value = pa.scalar(self._columns[name], pa.string())
                table = table.append_column(name, pa.repeat(value, len(table)))
        return RowBatch(table.select(list(columns)), batch.rejected)
