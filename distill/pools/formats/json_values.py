"""What kind a JSON value is, and which type a column of such values has."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

UNNAMED = pa.struct([])
"""The type of objects and of lists that hold no numbers, which nothing reads."""
_INT64 = range(-(2**63), 2**63)


def column_type(values: Iterable[Any]) -> pa.DataType:
    """Return the type of what most values of a column are; integers only where all its numbers are
    such."""
    present = [value for value in values if value is not None]
    if not present:
        return pa.null()
    kinds = [kind_of(value) for value in present]
    usual = Counter(kinds).most_common(1)[0][0]
    chosen = [value for value, kind in zip(present, kinds, strict=True) if kind == usual]
    if usual == "numbers":
        return _number_type(chosen)
    if usual == "lists of numbers":
        return pa.list_(_number_type(itertools.chain.from_iterable(chosen)))
    return {"text": pa.string(), "true or false": pa.bool_()}.get(usual, UNNAMED)


def _number_type(values: Iterable[int | float | None]) -> pa.DataType:
    numbers = (value for value in values if value is not None)
    are_int64 = all(isinstance(value, int) and value in _INT64 for value in numbers)
    return pa.int64() if are_int64 else pa.float64()


def kind_of(value: Any) -> str:
    """Return what messages call a value that is not null."""
    if isinstance(value, bool):  # before numbers: Python counts it as one
        return "true or false"
    if isinstance(value, int | float):
        return "numbers"
    if isinstance(value, str):
        return "text" if _is_unicode(value) else "broken text"
    if isinstance(value, list) and all(item is None or _is_number(item) for item in value):
        return "lists of numbers"
    return "objects"


def kind_of_type(kind: pa.DataType) -> str:
    """Return what `kind_of` says of the values that a column of that type is made of."""
    if pa.types.is_list(kind):
        return "lists of numbers"
    others = {pa.string(): "text", pa.bool_(): "true or false", UNNAMED: "no kind"}
    return others.get(kind, "numbers")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)  # not isinstance: a bool is none


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, as an escape
        return False
    return True
