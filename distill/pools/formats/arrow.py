"""Arrow IPC: files (Feather V2) and streams, which `datasets.save_to_disk` writes; their record
batches are the row groups.

The rows of a batch stand before its body, and pyarrow tells them only by reading a column, so the
footer of a file reads the cheapest one (measured: 7% of a file of 8-byte numbers and 100-byte
images), once a process and file. A stream has no index: it is read through once, for the rows and
the place of each batch, and then a batch is read from its place. What is read is validated before
it is used: offsets in a damaged or hostile file would point outside it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from distill.core.errors import PoolError
from distill.pools.formats.base import RowBatch, is_text
from distill.pools.formats.shard_file import Footer, ShardFile, Streamed

_FILE_MAGIC = b"ARROW1"
_STREAM_END = b"\xff\xff\xff\xff\0\0\0\0"
_KNOWN_FILES = 1_000

ReadBatch = Callable[[int], pa.RecordBatch]  # reads a record batch by its number


@dataclass(frozen=True)
class _Batches:
    """Rows of each record batch, and of a stream the place of each."""

    rows: tuple[int, ...]
    places: tuple[int, ...] = ()


# by URL and size of a file; what is read is checked against it
_known_batches: dict[tuple[str, int], _Batches] = {}


class ArrowShard(ShardFile):
    """One file of Arrow IPC. Raises Arrow's own errors for a file that is none."""

    name = "arrow"
    title = "Arrow IPC"
    endings = (".arrow", ".feather", ".ipc")
    indexed = True
    typed = True

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """Whether a file that begins so is one."""
        return head.startswith((b"ARROW1", b"\xff\xff\xff\xff"))  # of a file, of a stream

    def __init__(self, source: pa.NativeFile, where: str) -> None:
        super().__init__(source, where)
        is_file = source.read(len(_FILE_MAGIC)) == _FILE_MAGIC
        source.seek(0)
        self._form = _File(source) if is_file else _Stream(source, where)

    def footer(self) -> Footer:
        return Footer(self._batches().rows, self._form.schema)

    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        groups, around = self._groups(rows, columns)
        table = self._decode(self._reader(columns), groups, columns)
        return RowBatch(table.slice(rows.start - around.start, len(rows)))

    def stream(self, rows: range, columns: Sequence[str], part_rows: int) -> Streamed:  # noqa: ARG002  a batch is the least that can be read
        groups, around = self._groups(rows, columns)
        read = self._reader(columns)  # once: each opening of a file reads every dictionary
        parts = (RowBatch(self._decode(read, [group], columns)) for group in groups)
        return Streamed(around, parts)

    def _reader(self, columns: Sequence[str]) -> ReadBatch:
        return self._form.reader(columns, self._batches())

    def _decode(self, read: ReadBatch, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
        expected = self._batches().rows
        batches = [read(number) for number in groups]
        rows = [batch.num_rows for batch in batches]
        if rows != [expected[number] for number in groups]:
            raise PoolError(
                f"{self._where}: changed while it was read. Restore the file as it was listed."
            )
        schema = pa.schema([self._form.schema.field(name) for name in columns])
        table = pa.Table.from_batches([batch.select(list(columns)) for batch in batches], schema)
        for column in table.columns:
            # as binary, so that text that is no UTF-8 passes: it rejects its row, not the file
            checked = column.cast(pa.large_binary()) if is_text(column.type) else column
            checked.validate(full=True)
        return table

    def _batches(self) -> _Batches:
        size = self._source.size()
        file = (self._where, size)
        if file not in _known_batches:
            if len(_known_batches) >= _KNOWN_FILES:
                _known_batches.clear()
            _known_batches[file] = self._form.batches()
        return _known_batches[file]


class _Form(ABC):
    """One of the two forms of Arrow IPC."""

    schema: pa.Schema

    @abstractmethod
    def batches(self) -> _Batches:
        """Look through the file for its record batches."""

    @abstractmethod
    def reader(self, columns: Sequence[str], batches: _Batches) -> ReadBatch:
        """Return what reads a batch with `columns` at least."""


class _File(_Form):
    """The form with an index."""

    def __init__(self, source: pa.NativeFile) -> None:
        self._source = source
        self.schema = pa.ipc.open_file(source).schema

    def batches(self) -> _Batches:
        types = [field.type for field in self.schema]
        cheap = [number for number, kind in enumerate(types) if pa.types.is_primitive(kind)]
        reader = self._open(cheap[:1] or [0])
        read = map(reader.get_batch, range(reader.num_record_batches))
        return _Batches(tuple(batch.num_rows for batch in read))

    def reader(self, columns: Sequence[str], batches: _Batches) -> ReadBatch:  # noqa: ARG002  it has an index of its own
        indices = [self.schema.get_field_index(name) for name in columns]
        read: ReadBatch = self._open(indices).get_batch
        return read

    def _open(self, fields: Sequence[int]) -> pa.RecordBatchFileReader:
        options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=list(fields))
        return pa.ipc.open_file(self._source, options=options)


class _Stream(_Form):
    """The form without an index."""

    def __init__(self, source: pa.NativeFile, where: str) -> None:
        self._source = source
        self._where = where
        reader = self._open()
        self.schema = reader.schema

    def batches(self) -> _Batches:
        reader = self._open()
        rows = []
        places = [self._source.tell()]
        for batch in reader:
            rows.append(batch.num_rows)
            end = self._source.tell()
            places.append(end)
        # pyarrow takes the end of a file for that of the stream, and would lose rows without a word
        self._source.seek(self._source.size() - len(_STREAM_END))
        if self._source.read() != _STREAM_END:
            raise PoolError(
                f"{self._where}: is cut off: no end of the stream is marked."
                " Replace the file, or move it out of the pool."
            )
        return _Batches(tuple(rows), tuple(places))

    def reader(self, columns: Sequence[str], batches: _Batches) -> ReadBatch:  # noqa: ARG002  a batch is read whole
        if any(map(_holds_dictionary, self.schema.types)):
            return self._read_through().__getitem__

        def read(number: int) -> pa.RecordBatch:
            place = batches.places[number]
            self._source.seek(place)
            message = pa.ipc.read_message(self._source)
            return pa.ipc.read_record_batch(message, self.schema)

        return read

    def _read_through(self) -> list[pa.RecordBatch]:
        """All batches."""
        # those of dictionaries mean something only behind what came before them
        return list(self._open())

    def _open(self) -> pa.RecordBatchStreamReader:
        self._source.seek(0)
        return pa.ipc.open_stream(self._source)


def _holds_dictionary(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return True
    fields = [kind.field(number) for number in range(kind.num_fields)]
    return any(_holds_dictionary(part.type) for part in fields)
