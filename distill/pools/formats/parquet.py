"""Parquet. Only the pages of the wanted columns of the wanted row groups are read."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from distill.pools.formats.base import Footer, RowBatch, Streamed, check_columns, groups_of

_LARGE_BYTES = 64 << 20
"""Where the row groups of a run of rows hold more together, they are read bit by bit; else at once,
which asks a store less often."""
_BIT_BYTES = 8 << 20


class ParquetShard:
    """One Parquet file. Raises Arrow's own errors for a file that is none."""

    def __init__(self, source: pa.NativeFile, where: str) -> None:
        self._source, self._where = source, where
        self._file = pq.ParquetFile(source, memory_map=False)

    def footer(self) -> Footer:
        metadata = self._file.metadata
        groups = tuple(
            metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)
        )
        return Footer(groups, self._file.schema_arrow)

    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        footer = self.footer()
        check_columns(footer.schema, columns, self._where)
        groups, around = groups_of(footer.row_groups, rows)
        table = self._file.read_row_groups(groups, columns=list(columns), use_threads=False)
        return RowBatch(table.slice(rows.start - around.start, len(rows)))

    def stream(self, rows: range, columns: Sequence[str], part_rows: int) -> Streamed:
        footer = self.footer()
        check_columns(footer.schema, columns, self._where)
        groups, around = groups_of(footer.row_groups, rows)
        file = self._file
        if self._stored_bytes(groups, columns) > _LARGE_BYTES:
            file = pq.ParquetFile(
                self._source, metadata=file.metadata, buffer_size=_BIT_BYTES, pre_buffer=False
            )
        batches = file.iter_batches(
            part_rows, row_groups=groups, columns=list(columns), use_threads=False
        )
        return Streamed(around, (RowBatch(pa.Table.from_batches([batch])) for batch in batches))

    def _stored_bytes(self, groups: Sequence[int], columns: Sequence[str]) -> int:
        """Of `columns` in those row groups, as they lie in the file."""
        metadata, below = self._file.metadata, tuple(f"{name}." for name in columns)
        return sum(
            part.total_compressed_size
            for group in map(metadata.row_group, groups)
            for part in map(group.column, range(group.num_columns))
            if f"{part.path_in_schema}.".startswith(below)
        )
