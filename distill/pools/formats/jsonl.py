"""JSON lines: a row is a line that is not blank and holds an object; a field that an object lacks
is null.

The types of the first lines are an explicit schema for pyarrow's reader. Where that does not fit
every line, the file is read line by line: a broken line keeps its slot, and so does a value of
another kind than most of its column (where that is only `Copied`, all its values are text: text as
it stands, others as JSON). Both ways number rows alike, because the fast one is taken only where
each line is seen to be one whole object, and agree on types, because a schema that fits every line
is the one that the slow way finds.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.json

from distill.core.errors import PoolError
from distill.pools.formats.base import UNDECODABLE, Copied, Rejected, RowBatch, check_columns
from distill.pools.formats.json_values import UNNAMED, column_type, kind_of, kind_of_type
from distill.pools.formats.shard_file import Footer, ShardFile
from distill.pools.formats.whole_file import read_whole

_HEAD_ROWS = 1_000
_BLANK = b" \t\r"
_LARGEST_RECORD_BYTES = 1 << 24


class JsonlShard(ShardFile):
    """One file of JSON lines."""

    name = "jsonl"
    title = "JSON lines"
    endings = (".jsonl", ".ndjson")
    may_be_gzipped = True

    def __init__(self, source: pa.NativeFile, where: str) -> None:
        super().__init__(source, where)
        self._content = read_whole(source, where)
        self._lines = [line for line in self._content.split(b"\n") if line.strip(_BLANK)]

    def footer(self) -> Footer:
        groups = (len(self._lines),) if self._lines else ()
        return Footer(groups, self._head)

    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        batch = self._fast(columns) or self._slow(columns)
        return batch.cut(rows.start, len(rows))

    @cached_property
    def _head(self) -> pa.Schema:
        """The schema that the first lines have."""
        values = map(_parsed, self._lines[:_HEAD_ROWS])
        objects = [value for value in values if isinstance(value, dict)]
        names = dict.fromkeys(itertools.chain.from_iterable(objects))
        fields = []
        for name in names:
            column = [row.get(name) for row in objects]
            fields.append((name, column_type(column)))
        return pa.schema(fields)

    def _fast(self, columns: Sequence[str]) -> RowBatch | None:
        """None where the slow way must decide."""
        schema = self._explicit_schema(columns)
        if schema is None or not all(map(_is_object, self._lines)):
            return None
        options = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        try:
            self._content.decode("utf-8")  # pyarrow would take other bytes for text
            table = pa.json.read_json(
                pa.py_buffer(self._content),
                read_options=pa.json.ReadOptions(
                    use_threads=False, block_size=_LARGEST_RECORD_BYTES
                ),
                parse_options=options,
            )
        except (pa.ArrowException, UnicodeDecodeError):
            return None
        if len(table) != len(self._lines):
            return None
        return RowBatch(table.select(list(columns)))

    def _explicit_schema(self, columns: Sequence[str]) -> pa.Schema | None:
        """The types of `columns`; None where the first lines do not tell one of them."""
        head = self._head
        if not set(columns) <= set(head.names):
            return None
        fields = [head.field(name) for name in columns]
        if any(field.type in (pa.null(), UNNAMED) for field in fields):
            return None
        return pa.schema(fields)

    def _slow(self, columns: Sequence[str]) -> RowBatch:
        rejected: Rejected = {}
        values: dict[str, list[Any]] = {name: [] for name in columns}
        names = dict.fromkeys(self._head.names)
        for row, line in enumerate(self._lines):
            parsed = _parsed(line)
            if not isinstance(parsed, dict):
                message = f"the line is no JSON object: {_clipped(parsed or line)}"
                rejected[row] = (UNDECODABLE, message)
                parsed = {}
            names |= dict.fromkeys(parsed)
            for name in columns:
                values[name].append(parsed.get(name))
        if self._lines:
            found = pa.schema([(name, pa.null()) for name in names])
            check_columns(found, columns, self._where)
        arrays = {name: self._array(name, values[name], rejected) for name in columns}
        return RowBatch(pa.table(arrays), rejected)

    def _array(self, name: str, values: list[Any], rejected: Rejected) -> pa.Array:
        """One column; what is of another kind than most of it becomes null and is rejected."""
        kind = column_type(values)
        usual = kind_of_type(kind)
        present = [(row, value) for row, value in enumerate(values) if value is not None]
        others = [(row, value) for row, value in present if kind_of(value) != usual]
        if isinstance(name, Copied) and others:
            return _copied(name, values, rejected)
        if kind == UNNAMED:
            raise PoolError(
                f"{self._where}: column {name!r} holds objects, or lists of no numbers."
                " Store numbers, lists of numbers or text."
            )
        for row, value in others:
            message = f"column {name!r} holds {_clipped(value)}, where most rows hold {usual}"
            rejected.setdefault(row, (UNDECODABLE, message))
            values[row] = None
        return pa.array([_as_type(value, kind) for value in values], kind)


def _as_type(value: Any, kind: pa.DataType) -> Any:
    """`value` as `pa.array` takes it for a column of `kind`; it takes no integer beyond 2**53 for a
    float."""
    if value is None:
        return None
    if kind == pa.float64():
        return _float(value)
    if kind == pa.list_(pa.float64()):
        return [None if item is None else _float(item) for item in value]
    return value


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an integer beyond what a float can hold
        return float("inf") if number > 0 else float("-inf")


def _copied(name: str, values: list[Any], rejected: Rejected) -> pa.Array:
    """A column of several kinds as text."""
    texts: list[str | None] = []
    for row, value in enumerate(values):
        if value is None or kind_of(value) == "text":
            texts.append(value)
            continue
        try:
            texts.append(json.dumps(value))
        except RecursionError:
            message = f"column {name!r} is nested too deep to be copied"
            rejected.setdefault(row, (UNDECODABLE, message))
            texts.append(None)
    return pa.array(texts, pa.string())


def _parsed(line: bytes) -> Any:
    """The value of a line; None for one that is broken."""
    try:
        return json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def _is_object(line: bytes) -> bool:
    """Lines that begin and end so cannot share an object, so as many objects as lines are one a
    line."""
    stripped = line.strip(_BLANK)
    return stripped.startswith(b"{") and stripped.endswith(b"}")


def _clipped(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
