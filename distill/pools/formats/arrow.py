"""Arrow IPC files (Feather V2); its record batches are the row groups. The streaming form has no
index and is no such file.

The rows of a batch stand before its body, and pyarrow tells them only by reading a column, so the
footer reads the cheapest one (measured: 7% of a file of 8-byte numbers and 100-byte images), once a
process and file. What is read is validated before it is used: offsets in a damaged or hostile file
would point outside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from distill.core.errors import PoolError
from distill.pools.formats.base import RowBatch, is_text
from distill.pools.formats.shard_file import Footer, ShardFile, Streamed

_KNOWN_FILES = 1_000
_known_sizes: dict[tuple[str, int], tuple[int, ...]] = {}
"""Rows of each batch by URL and size of a file; what is read is checked against it."""


class ArrowShard(ShardFile):
    """One Arrow IPC file. Raises Arrow's own errors for a file that is none."""

    name = "arrow"
    title = "Arrow IPC"
    endings = (".arrow", ".feather", ".ipc")
    indexed = True
    typed = True

    def __init__(self, source: pa.NativeFile, where: str) -> None:
        super().__init__(source, where)
        self._schema: pa.Schema = pa.ipc.open_file(source).schema

    def footer(self) -> Footer:
        return Footer(self._sizes(), self._schema)

    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        groups, around = self._groups(rows, columns)
        table = self._decode(self._reader_of(columns), groups)
        return RowBatch(table.slice(rows.start - around.start, len(rows)))

    def stream(self, rows: range, columns: Sequence[str], part_rows: int) -> Streamed:  # noqa: ARG002  a batch is the least that can be read
        groups, around = self._groups(rows, columns)
        reader = self._reader_of(columns)  # once: each opening reads every dictionary
        return Streamed(around, (RowBatch(self._decode(reader, [group])) for group in groups))

    def _reader_of(self, columns: Sequence[str]) -> pa.RecordBatchFileReader:
        return self._open([self._schema.get_field_index(name) for name in columns])

    def _decode(self, reader: pa.RecordBatchFileReader, groups: Sequence[int]) -> pa.Table:
        sizes = self._sizes()
        batches = [reader.get_batch(number) for number in groups]
        rows = [batch.num_rows for batch in batches]
        if rows != [sizes[number] for number in groups]:
            raise PoolError(
                f"{self._where}: changed while it was read. Restore the file as it was listed."
            )
        table = pa.Table.from_batches(batches, reader.schema)
        for column in table.columns:
            # as binary, so that text that is no UTF-8 passes: it rejects its row, not the file
            checked = column.cast(pa.large_binary()) if is_text(column.type) else column
            checked.validate(full=True)
        return table

    def _sizes(self) -> tuple[int, ...]:
        """Rows of each batch."""
        file = (self._where, self._source.size())
        if file not in _known_sizes:
            if len(_known_sizes) >= _KNOWN_FILES:
                _known_sizes.clear()
            _known_sizes[file] = self._read_sizes()
        return _known_sizes[file]

    def _read_sizes(self) -> tuple[int, ...]:
        types = [field.type for field in self._schema]
        cheap = [number for number, kind in enumerate(types) if pa.types.is_primitive(kind)]
        reader = self._open(cheap[:1] or [0])
        batches = map(reader.get_batch, range(reader.num_record_batches))
        return tuple(batch.num_rows for batch in batches)

    def _open(self, fields: Sequence[int]) -> pa.RecordBatchFileReader:
        options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=list(fields))
        return pa.ipc.open_file(self._source, options=options)
