"""What kind a JSON value is, and which type a column of such values has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

# the type of objects and of lists that hold no numbers, which nothing reads
UNNAMED = pa.struct([])
FLOAT_LIMIT = 10**15  # integers below it are the same as floats, and written the same
_INT64 = range(-(2**63), 2**63)
_MOST_DEPTH = 4  # of lists of lists


def column_type(values: Iterable[Any]) -> tuple[str, pa.DataType]:
    """Return what most values of a column are, as messages call it, and a type that holds them.

    Numbers are integers where all of them are. Where floats would change an integer's digits, they
    are text as JSON writes them: an id keeps its digits, and text is read as numbers where numbers
    are meant."""
    present = [value for value in values if value is not None]
    if not present:
        return "nothing", pa.null()
    kinds = [kind_of(value) for value in present]
    usual = Counter(kinds).most_common(1)[0][0]
    chosen = [value for value, kind in zip(present, kinds, strict=True) if kind == usual]
    if usual == "numbers":
        return usual, _number_type(chosen)
    if usual.endswith("of numbers"):
        kind = _item_type(chosen)
        for _ in range(usual.count("lists")):
            kind = pa.list_(kind)
        return usual, kind
    if usual == "text":
        return usual, pa.string()
    if usual == "true or false":
        return usual, pa.bool_()
    return "no kind", UNNAMED


def _number_type(numbers: Sequence[float]) -> pa.DataType:
    whole = _whole_type(numbers)
    if whole is not None:
        return whole
    return pa.string() if any(map(is_changed_by_floats, numbers)) else pa.float64()


def _item_type(lists: Sequence[Any]) -> pa.DataType:
    return _whole_type(list(leaves(lists))) or pa.float64()


def _whole_type(numbers: Sequence[float]) -> pa.DataType | None:
    """The type of numbers that are all integers of 64 bits; None of others."""
    if not all(isinstance(number, int) for number in numbers):
        return None
    smallest = min(numbers, default=0)
    largest = max(numbers, default=0)
    if smallest in _INT64 and largest in _INT64:
        return pa.int64()
    return pa.uint64() if smallest >= 0 and largest < 2**64 else None


def is_changed_by_floats(number: float) -> bool:
    """Whether an integer would be rounded as a float, or written otherwise."""
    return isinstance(number, int) and abs(number) >= FLOAT_LIMIT


def leaves(lists: Iterable[Any]) -> Iterator[float]:
    """Yield the numbers that lists, and lists of lists, hold."""
    for item in lists:
        if isinstance(item, list):
            yield from leaves(item)
        elif item is not None:
            yield item


def kind_of(value: Any) -> str:
    """Return what messages call a value that is not null."""
    if isinstance(value, bool):  # before numbers: Python counts it as one
        return "true or false"
    if isinstance(value, int | float):
        return "numbers"
    if isinstance(value, str):
        is_valid = _is_unicode(value)
        return "text" if is_valid else "broken text"
    depth = _list_depth(value, _MOST_DEPTH)
    return "lists of " * depth + "numbers" if depth else "objects"


def _list_depth(value: Any, most: int) -> int:
    """How deep lists are nested that hold numbers alone; 0 of other values, and beyond `most`."""
    if not isinstance(value, list) or not most:
        return 0
    items = [item for item in value if item is not None]
    if all(map(_is_number, items)):
        return 1
    depths = {_list_depth(item, most - 1) for item in items}
    inner = depths.pop()
    return 0 if depths or not inner else 1 + inner


def _is_number(value: Any) -> bool:
    kind = type(value)
    return kind in (int, float)  # not isinstance: a bool is none


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, as an escape
        return False
    return True
