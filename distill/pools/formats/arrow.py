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
from distill.pools.formats.base import Footer, RowBatch, Streamed, check_columns, groups_of, is_text

_KNOWN_FILES = 1_000
_known_sizes: dict[tuple[str, int], tuple[int, ...]] = {}
"""Rows of each batch by URL and size of a file; what is read is held against it."""


class ArrowShard:
    """One Arrow IPC file. Raises Arrow's own errors for a file that is none."""

    def __init__(self, source: pa.NativeFile, where: str) -> None:
        self._source, self._where = source, where
        self._schema: pa.Schema = pa.ipc.open_file(source).schema

    def footer(self) -> Footer:
        return Footer(self._sizes(), self._schema)

    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        check_columns(self._schema, columns, self._where)
        groups, around = groups_of(self._sizes(), rows)
        return RowBatch(
            self._decode(self._columns(columns), groups).slice(rows.start - around.start, len(rows))
        )

    def stream(self, rows: range, columns: Sequence[str], part_rows: int) -> Streamed:  # noqa: ARG002  a batch is the least that can be read
        check_columns(self._schema, columns, self._where)
        groups, around = groups_of(self._sizes(), rows)
        reader = self._columns(columns)  # once: each opening reads the footer and every dictionary
        return Streamed(around, (RowBatch(self._decode(reader, [group])) for group in groups))

    def _columns(self, names: Sequence[str]) -> pa.RecordBatchFileReader:
        return self._open([self._schema.get_field_index(name) for name in names])

    def _decode(self, reader: pa.RecordBatchFileReader, groups: Sequence[int]) -> pa.Table:
        sizes = self._sizes()
        batches = [reader.get_batch(number) for number in groups]
        if [batch.num_rows for batch in batches] != [sizes[number] for number in groups]:
            raise PoolError(
                f"{self._where}: changed while it was read. Restore the file as it was listed."
            )
        table = pa.Table.from_batches(batches, reader.schema)
        for column in table.columns:
            (column.cast(pa.large_binary()) if is_text(column.type) else column).validate(full=True)
        return table

    def _sizes(self) -> tuple[int, ...]:
        file = (self._where, self._source.size())
        if file not in _known_sizes:
            fixed = [
                number
                for number, field in enumerate(self._schema)
                if pa.types.is_primitive(field.type)
            ]
            reader = self._open(fixed[:1] or [0])
            if len(_known_sizes) >= _KNOWN_FILES:
                _known_sizes.clear()
            _known_sizes[file] = tuple(
                reader.get_batch(number).num_rows for number in range(reader.num_record_batches)
            )
        return _known_sizes[file]

    def _open(self, fields: Sequence[int]) -> pa.RecordBatchFileReader:
        options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=list(fields))
        return pa.ipc.open_file(self._source, options=options)
