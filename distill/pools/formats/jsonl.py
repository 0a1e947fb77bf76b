"""JSON lines: a row is a line that is not blank and holds an object; a field that an object lacks
is null. A file that is one JSON array of objects has a row for each of them.

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
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from distill.core.errors import PoolError
from distill.pools.formats.base import UNDECODABLE, Copied, Rejected, RowBatch, check_columns
from distill.pools.formats.json_values import (
    FLOAT_LIMIT,
    UNNAMED,
    column_type,
    is_changed_by_floats,
    kind_of,
    leaves,
)
from distill.pools.formats.shard_file import Footer, ShardFile
from distill.pools.formats.whole_file import read_whole

_HEAD_ROWS = 1_000
_BLANK = b" \t\r"
_LARGEST_RECORD_BYTES = 1 << 24


class JsonlShard(ShardFile):
    """One file of JSON lines."""

    name = "jsonl"
    title = "JSON lines"
    endings = (".jsonl", ".ndjson", ".json")
    may_be_packed = True

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """Whether a file that begins so is one."""
        return head.lstrip().startswith((b"{", b"["))

    def __init__(self, source: pa.NativeFile, where: str) -> None:
        super().__init__(source, where)
        self._content = read_whole(source, where)
        lines = _array_lines(self._content)
        if lines is not None:
            self._content = b"\n".join(lines)
        self._lines = [line for line in self._content.split(b"\n") if line.strip(_BLANK)]

    def footer(self) -> Footer:
        if self._lines and not self._objects:
            raise self._no_lines()
        groups = (len(self._lines),) if self._lines else ()
        return Footer(groups, self._head)

    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        batch = self._fast(columns) or self._slow(columns)
        return batch.cut(rows.start, len(rows))

    @cached_property
    def _objects(self) -> list[dict[str, Any]]:
        """What the first lines hold, broken ones left out."""
        values = map(_parsed, self._lines[:_HEAD_ROWS])
        return [value for value in values if isinstance(value, dict)]

    @cached_property
    def _head(self) -> pa.Schema:
        """The schema that the first lines have."""
        names = dict.fromkeys(itertools.chain.from_iterable(self._objects))
        fields = []
        for name in names:
            _, kind = column_type(row.get(name) for row in self._objects)
            fields.append((name, kind))
        return pa.schema(fields)

    def _no_lines(self) -> PoolError:
        """The error of a file whose first lines are no objects."""
        line = self._lines[0]
        first = line.strip()
        advice = "Replace the file, or correct the pool's format."
        if first.startswith(b"["):
            advice = "It begins as a JSON array, and is no whole one of objects. Write it anew."
        elif first.startswith(b"{"):
            advice = "If an object takes several lines, `jq -c . FILE` writes each on one."
        lines = len(self._lines)
        count = min(_HEAD_ROWS, lines)
        return PoolError(
            f"{self._where}: of its first {count} lines none is a JSON object: {_clipped(first)}."
            f" {advice}"
        )

    def _fast(self, columns: Sequence[str]) -> RowBatch | None:
        """None where the slow way must decide."""
        schema = self._explicit_schema(columns)
        if schema is None or not all(map(_is_object, self._lines)):
            return None
        options = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        try:
            self._content.decode("utf-8")  # pyarrow would take other bytes for text
            read_options = pa.json.ReadOptions(use_threads=False, block_size=_LARGEST_RECORD_BYTES)
            table = pa.json.read_json(
                pa.py_buffer(self._content), read_options=read_options, parse_options=options
            )
        except (pa.ArrowException, UnicodeDecodeError):
            return None
        if len(table) != len(self._lines) or any(map(_may_be_rounded, table.columns, columns)):
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
        present = self._head.names
        names = dict.fromkeys(present)
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
        table = pa.table(arrays)
        return RowBatch(table, rejected)

    def _array(self, name: str, values: list[Any], rejected: Rejected) -> pa.Array:
        """One column; what is of another kind than most of it becomes null and is rejected."""
        usual, kind = column_type(values)
        present = [(row, value) for row, value in enumerate(values) if value is not None]
        others = [(row, value) for row, value in present if kind_of(value) != usual]
        if isinstance(name, Copied) and (others or _rounds_lists(values, kind)):
            return _copied(name, values, rejected)
        if kind == UNNAMED:
            raise PoolError(
                f"{self._where}: column {name!r} holds objects, or lists of no numbers."
                " Store numbers, lists of numbers or text."
            )
        for row, value in others:
            message = f"column {name!r} holds {_clipped(value)}, where most rows hold {usual}"
            reason = (UNDECODABLE, message)
            rejected.setdefault(row, reason)
            values[row] = None
        return pa.array([_as_type(value, kind) for value in values], kind)


def _as_type(value: Any, kind: pa.DataType) -> Any:
    """`value` as `pa.array` takes it for a column of `kind`."""
    # it takes no integer beyond 2**53 for a float
    if isinstance(value, list):
        return [_as_type(item, kind.value_type) for item in value]
    if value is None or isinstance(value, str):
        return value
    if kind == pa.string():
        return json.dumps(value)
    return _float(value) if kind == pa.float64() else value


def _may_be_rounded(column: pa.ChunkedArray, name: str) -> bool:
    """Whether floats hold numbers so large that integers among them may have lost digits."""
    if pa.types.is_list(column.type) and isinstance(name, Copied):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        while pa.types.is_list(column.type):
            column = column.flatten()
    if column.type != pa.float64():
        return False
    return bool(pc.any(pc.greater_equal(pc.abs(column), FLOAT_LIMIT)).as_py())


def _rounds_lists(values: Iterable[Any], kind: pa.DataType) -> bool:
    """Whether a type holds lists of floats, and integers among `values` would lose digits."""
    is_list = pa.types.is_list(kind)
    while pa.types.is_list(kind):
        kind = kind.value_type
    return is_list and kind == pa.float64() and any(map(is_changed_by_floats, leaves(values)))


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an integer beyond what a float can hold
        return float("inf") if number > 0 else float("-inf")


def _copied(name: str, values: list[Any], rejected: Rejected) -> pa.Array:
    """A column of several kinds as text."""
    texts = []
    for row, value in enumerate(values):
        if value is None or kind_of(value) == "text":
            texts.append(value)
            continue
        try:
            text = json.dumps(value)
            texts.append(text)
        except RecursionError:
            message = f"column {name!r} is nested too deep to be copied"
            reason = (UNDECODABLE, message)
            rejected.setdefault(row, reason)
            texts.append(None)
    return pa.array(texts, pa.string())


def _array_lines(content: bytes) -> list[bytes] | None:
    """The objects of a JSON array as a line each; None of what is no whole array of objects."""
    if not content.lstrip().startswith(b"["):
        return None
    items = _parsed(content)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return None
    return [json.dumps(item).encode() for item in items]


def _parsed(line: bytes) -> Any:
    """The value of a line; None for one that is broken."""
    try:
        text = line.decode("utf-8")
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_object(line: bytes) -> bool:
    # no object spans lines that begin and end so: as many objects as lines are one a line
    stripped = line.strip(_BLANK)
    return stripped.startswith(b"{") and stripped.endswith(b"}")


def _clipped(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
