"""Parquet. Only the pages of the wanted columns of the wanted row groups are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

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

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """Whether a file that begins so is one."""
        return head.startswith(b"PAR1")

    def __init__(self, source: pa.NativeFile, where: str) -> None:
        super().__init__(source, where)
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(source, memory_map=False, pre_buffer=False)

    def footer(self) -> Footer:
        metadata = self._file.metadata
        groups = map(metadata.row_group, range(metadata.num_row_groups))
        rows = tuple(group.num_rows for group in groups)
        return Footer(rows, self._file.schema_arrow)

    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        groups, around = self._groups(rows, columns)
        self._prefetch(groups, columns)
        due = rows.stop - around.start
        if columns and due < len(around):  # what is behind them in their row group stays as it is
            batches = self._file.iter_batches(
                due, row_groups=groups, columns=list(columns), use_threads=False
            )
            table = pa.Table.from_batches(_first(batches, due))
        else:
            table = self._file.read_row_groups(groups, columns=list(columns), use_threads=False)
        return RowBatch(table.slice(rows.start - around.start, len(rows)))

    def stream(self, rows: range, columns: Sequence[str], part_rows: int) -> Streamed:
        groups, around = self._groups(rows, columns)
        file = self._file
        if self._stored_bytes(groups, columns) > _LARGE_BYTES:
            # pre-buffering would fetch all pages of the row groups before the first row is decoded
            import pyarrow.parquet as pq

            file = pq.ParquetFile(
                self._source, metadata=file.metadata, buffer_size=_BIT_BYTES, pre_buffer=False
            )
        else:
            self._prefetch(groups, columns)
        batches = file.iter_batches(
            part_rows, row_groups=groups, columns=list(columns), use_threads=False
        )
        return Streamed(around, (RowBatch(pa.Table.from_batches([batch])) for batch in batches))

    def _prefetch(self, groups: Sequence[int], columns: Sequence[str]) -> None:
        """Fetch all pages at once from a store; pyarrow asks for one column after the other."""
        if self.prefetch is None:
            return
        ranges = []
        for chunk in self._chunks(groups, columns):
            start = chunk.data_page_offset
            if chunk.has_dictionary_page:
                start = min(start, chunk.dictionary_page_offset)
            ranges.append((start, start + chunk.total_compressed_size))
        self.prefetch(ranges)

    def _stored_bytes(self, groups: Sequence[int], columns: Sequence[str]) -> int:
        """Bytes of `columns` in those row groups, as they lie in the file."""
        return sum(chunk.total_compressed_size for chunk in self._chunks(groups, columns))

    def _chunks(self, groups: Sequence[int], columns: Sequence[str]) -> Iterator[Any]:
        """Yield what the file says of `columns` in those row groups."""
        prefixes = tuple(f"{name}." for name in columns)
        for group in map(self._file.metadata.row_group, groups):
            for chunk in map(group.column, range(group.num_columns)):
                # a list column "x" is stored under the path "x.list.element"
                if f"{chunk.path_in_schema}.".startswith(prefixes):
                    yield chunk


def _first(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield batches until they have so many rows."""
    for batch in batches:
        yield batch
        rows -= len(batch)
        if rows <= 0:
            return
