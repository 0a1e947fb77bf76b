"""Parquet. Only the pages of the wanted columns of the wanted row groups are read."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from distill.pools.formats.base import RowBatch
from distill.pools.formats.shard_file import Footer, ShardFile, Streamed

_LARGE_BYTES = 64 << 20
"""Where the row groups of a run of rows hold more together, they are read bit by bit; else at once,
which asks a store less often."""
_BIT_BYTES = 8 << 20


class ParquetShard(ShardFile):
    """One Parquet file. Raises Arrow's own errors for a file that is none."""

    name = "parquet"
    title = "Parquet"
    endings = (".parquet",)
    indexed = True
    typed = True

    def __init__(self, source: pa.NativeFile, where: str) -> None:
        super().__init__(source, where)
        self._file = pq.ParquetFile(source, memory_map=False)

    def footer(self) -> Footer:
        metadata = self._file.metadata
        groups = map(metadata.row_group, range(metadata.num_row_groups))
        rows = tuple(group.num_rows for group in groups)
        return Footer(rows, self._file.schema_arrow)

    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        groups, around = self._groups(rows, columns)
        table = self._file.read_row_groups(groups, columns=list(columns), use_threads=False)
        return RowBatch(table.slice(rows.start - around.start, len(rows)))

    def stream(self, rows: range, columns: Sequence[str], part_rows: int) -> Streamed:
        groups, around = self._groups(rows, columns)
        file = self._file
        if self._stored_bytes(groups, columns) > _LARGE_BYTES:
            # pre-buffering would fetch all pages of the row groups before the first row is decoded
            file = pq.ParquetFile(
                self._source, metadata=file.metadata, buffer_size=_BIT_BYTES, pre_buffer=False
            )
        batches = file.iter_batches(
            part_rows, row_groups=groups, columns=list(columns), use_threads=False
        )
        return Streamed(around, (RowBatch(pa.Table.from_batches([batch])) for batch in batches))

    def _stored_bytes(self, groups: Sequence[int], columns: Sequence[str]) -> int:
        """Bytes of `columns` in those row groups, as they lie in the file."""
        prefixes = tuple(f"{name}." for name in columns)
        total = 0
        for group in map(self._file.metadata.row_group, groups):
            for chunk in map(group.column, range(group.num_columns)):
                # a list column "x" is stored under the path "x.list.element"
                if f"{chunk.path_in_schema}.".startswith(prefixes):
                    total += chunk.total_compressed_size
        return total
