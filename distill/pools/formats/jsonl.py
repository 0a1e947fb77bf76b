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
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.json

from distill.core.errors import PoolError
from distill.pools.formats.base import (
    UNDECODABLE,
    Copied,
    Footer,
    Rejected,
    RowBatch,
    Streamed,
    check_columns,
)
from distill.pools.formats.whole_file import read_whole

_HEAD_ROWS = 1_000
_BLANK = b" \t\r"
_LARGEST_RECORD_BYTES = 1 << 24
_UNNAMED = pa.struct([])
"""Of objects and of lists that hold no numbers, which nothing reads."""
_INT64 = range(-(2**63), 2**63)


class JsonlShard:
    """One file of JSON lines."""

    def __init__(self, source: pa.NativeFile, where: str) -> None:
        self._where = where
        self._content = read_whole(source, where)
        self._lines = [line for line in self._content.split(b"\n") if line.strip(_BLANK)]

    def footer(self) -> Footer:
        return Footer((len(self._lines),) if self._lines else (), self._head)

    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        taken = self._fast(columns) or self._slow(columns)
        return taken.cut(rows.start, len(rows))

    def stream(self, rows: range, columns: Sequence[str], part_rows: int) -> Streamed:  # noqa: ARG002  it is parsed whole
        return Streamed(rows, iter([self.read(rows, columns)]))

    @cached_property
    def _head(self) -> pa.Schema:
        parsed = [_parsed(line) for line in self._lines[:_HEAD_ROWS]]
        objects = [row for row in parsed if isinstance(row, dict)]
        names = dict.fromkeys(itertools.chain.from_iterable(objects))
        return pa.schema(
            [(name, column_type([row.get(name) for row in objects])) for name in names]
        )

    def _fast(self, columns: Sequence[str]) -> RowBatch | None:
        """None where the slow way must decide."""
        head = self._head
        fields = [head.field(name) for name in columns if name in head.names]
        untold = len(fields) < len(columns) or any(
            field.type in (pa.null(), _UNNAMED) for field in fields
        )
        if untold or not all(map(_is_object, self._lines)):
            return None
        try:
            self._content.decode("utf-8")
            table = pa.json.read_json(
                pa.py_buffer(self._content),
                read_options=pa.json.ReadOptions(
                    use_threads=False, block_size=_LARGEST_RECORD_BYTES
                ),
                parse_options=pa.json.ParseOptions(
                    explicit_schema=pa.schema(fields), unexpected_field_behavior="ignore"
                ),
            )
        except (pa.ArrowException, UnicodeDecodeError):
            return None
        return RowBatch(table.select(list(columns))) if len(table) == len(self._lines) else None

    def _slow(self, columns: Sequence[str]) -> RowBatch:
        rejected: Rejected = {}
        values: dict[str, list[Any]] = {name: [] for name in columns}
        names = dict.fromkeys(self._head.names)
        for row, line in enumerate(self._lines):
            parsed = _parsed(line)
            if not isinstance(parsed, dict):
                rejected[row] = (
                    UNDECODABLE,
                    f"the line is no JSON object: {_clipped(parsed or line)}",
                )
                parsed = {}
            names |= dict.fromkeys(parsed)
            for name in columns:
                values[name].append(parsed.get(name))
        if self._lines:
            check_columns(pa.schema([(name, pa.null()) for name in names]), columns, self._where)
        arrays = {name: self._array(name, values[name], rejected) for name in columns}
        return RowBatch(pa.table(arrays), rejected)

    def _array(self, name: str, values: list[Any], rejected: Rejected) -> pa.Array:
        kind = column_type(values)
        family = _family_of(kind)
        if isinstance(name, Copied) and any(
            value is not None and _family(value) != family for value in values
        ):
            return _texts(name, values, rejected)
        if kind == _UNNAMED:
            raise PoolError(
                f"{self._where}: column {name!r} holds objects, or lists of no numbers. Store"
                " numbers, lists of numbers or text."
            )
        for row, value in enumerate(values):
            if value is not None and _family(value) != family:
                said = f"column {name!r} holds {_clipped(value)}, where most rows hold {family}"
                rejected.setdefault(row, (UNDECODABLE, said))
                values[row] = None
            elif kind == pa.float64() and value is not None:
                values[row] = _float(value)
            elif kind == pa.list_(pa.float64()) and value is not None:
                values[row] = [None if each is None else _float(each) for each in value]
        return pa.array(values, kind)


def column_type(values: Iterable[Any]) -> pa.DataType:
    """The type of what most values of a column are; integers only where all its numbers are such."""
    known = [value for value in values if value is not None]
    if not known:
        return pa.null()
    families = [_family(value) for value in known]
    family = Counter(families).most_common(1)[0][0]
    mine = [value for value, each in zip(known, families, strict=True) if each == family]
    if family == "numbers":
        return _number_type(mine)
    if family == "lists of numbers":
        return pa.list_(_number_type(itertools.chain.from_iterable(mine)))
    return {"text": pa.string(), "true or false": pa.bool_()}.get(family, _UNNAMED)


def _number_type(values: Iterable[int | float | None]) -> pa.DataType:
    whole = all(value is None or (isinstance(value, int) and value in _INT64) for value in values)
    return pa.int64() if whole else pa.float64()


def _family(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "numbers"
    if isinstance(value, str):
        return "text" if _is_unicode(value) else "broken text"
    if isinstance(value, list) and all(
        each is None or type(each) in (int, float) for each in value
    ):
        return "lists of numbers"
    return "objects"


def _family_of(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return "lists of numbers"
    return {pa.string(): "text", pa.bool_(): "true or false", _UNNAMED: "no kind"}.get(
        kind, "numbers"
    )


def _texts(name: str, values: list[Any], rejected: Rejected) -> pa.Array:
    for row, value in enumerate(values):
        if value is not None and _family(value) != "text":
            try:
                values[row] = json.dumps(value)
            except RecursionError:
                rejected.setdefault(
                    row, (UNDECODABLE, f"column {name!r} is nested too deep to be copied")
                )
                values[row] = None
    return pa.array(values, pa.string())


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, as an escape
        return False
    return True


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _parsed(line: bytes) -> Any:
    """The value of a line; None for one that is broken."""
    try:
        return json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def _is_object(line: bytes) -> bool:
    """Lines that begin and end so cannot share an object, so as many objects as lines are one a
    line."""
    line = line.strip(_BLANK)
    return line.startswith(b"{") and line.endswith(b"}")


def _clipped(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 80 else said[:77] + "…"
