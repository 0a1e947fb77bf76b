"""Parquet. Only the pages of the wanted columns of the wanted row groups are read."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from distill.pool.formats.base import Footer, GroupCache, Taken, check_columns, read_groups


class ParquetShard:
    """One Parquet file. Raises Arrow's own errors for a file that is none."""

    def __init__(self, source: pa.NativeFile, where: str) -> None:
        self._file = pq.ParquetFile(source, memory_map=False)
        self._where = where

    def footer(self) -> Footer:
        metadata = self._file.metadata
        groups = tuple(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
        return Footer(groups, self._file.schema_arrow)

    def read(self, rows: range, columns: Sequence[str], cache: GroupCache | None) -> Taken:
        footer = self.footer()
        check_columns(footer.schema, columns, self._where)

        def decode(groups: list[int]) -> pa.Table:
            return self._file.read_row_groups(groups, columns=list(columns), use_threads=False)

        return read_groups(footer.row_groups, rows, decode, cache=cache, of=(self._where, tuple(columns)))
