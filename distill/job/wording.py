"""What a key of a job file must be, in the words of TOML, for each mistake that pydantic tells."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic_core import ErrorDetails

from distill.job.known_keys import TableSchema
from distill.spec.pools import MARK_PATTERN

_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "none_required": "left out",
    "date_type": "a day without quotes, such as 2026-11-29",
    "date_parsing": "a day without quotes, such as 2026-11-29",
    "date_from_datetime_parsing": "a day without quotes, such as 2026-11-29",
    "date_from_datetime_inexact": "a day without a time, such as 2026-11-29",
}
_UNQUOTED = {"int_type", "float_type", "bool_type"}
_LONG = 1e12  # a number that is not written out
_LISTS = {"tuple_type", "list_type", "set_type", "frozen_set_type"}
_TABLES = {
    "dict_type",
    "model_type",
    "model_attributes_type",
    "dataclass_type",
    "mapping_type",
    "union_tag_invalid",
    "union_tag_not_found",
}
_LIMITS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def what_is_due(problem: ErrorDetails, schema: TableSchema) -> str:
    """Return what must stand where pydantic found a problem, to follow "must be"."""
    kind = problem["type"]
    if kind in _TABLES:
        return _table(problem, schema)
    if kind in _LISTS:
        return "a list"
    if kind in _TYPES:
        return _TYPES[kind]
    if problem.get("ctx", {}).get("pattern") == MARK_PATTERN:
        return "one ASCII character that is no letter, digit or line break"
    if kind in ("string_too_short", "string_pattern_mismatch"):
        return f"text that is not empty{schema.meaning(problem['loc'])}"
    return _limit(problem, schema)


def way_out(problem: ErrorDetails) -> str:
    """Return what to write in place of a value that lacks brackets or has quotes too many; "" where
    that is not known."""
    value = problem["input"]
    if problem["type"] in _LISTS and isinstance(value, str | int | float):
        text = f'"{value}"' if isinstance(value, str) else written(value)
        return f": write [{text}]"
    if problem["type"] in _UNQUOTED and isinstance(value, str) and _is_bare(value):
        return f", without quotes: write {value}"
    return ""


def written(value: object) -> str:
    """Return a value as a job file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        pairs = ", ".join(f"{key} = {written(each)}" for key, each in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    return repr(value)


def _limit(problem: ErrorDetails, schema: TableSchema) -> str:
    kind = problem["type"]
    context = problem.get("ctx", {})
    if kind in _LIMITS:
        words, limit = _LIMITS[kind]
        return f"{words} {_number(context[limit])}"
    if kind == "multiple_of":
        return f"a multiple of {_number(context['multiple_of'])}"
    if kind == "string_too_long":
        most = context["max_length"]
        return f"text of at most {most} letters"
    if kind == "too_short":
        fewest = context["min_length"]
        count = _items(fewest)
        return f"a list of at least {count}{schema.meaning(problem['loc'])}"
    if kind == "too_long":
        return f"a list of at most {_items(context['max_length'])}"
    expected = context.get("expected", "another value")
    return str(expected)


def _table(problem: ErrorDetails, schema: TableSchema) -> str:
    value: Any = problem["input"]
    location = problem["loc"]
    kinds = schema.kinds(location)
    if not kinds:
        is_list = isinstance(value, list)
        return "one table ([[ ]] begins a list of them, [ ] one)" if is_list else "a table"
    named = value.get("kind") if isinstance(value, dict) else value
    near = difflib.get_close_matches(str(named), kinds, n=1) or ["…"]
    there = ", ".join(f'"{kind}"' for kind in kinds)
    return f'a table {{ kind = "{near[0]}", … }} whose kind is one of {there}'


def _number(limit: float) -> str:
    return f"{int(limit):,}" if limit == int(limit) and limit < _LONG else f"{limit:g}"


def _items(count: int) -> str:
    return "1 item" if count == 1 else f"{count} items"


def _is_bare(text: str) -> bool:
    # whether a text would be a number or a truth without its quotes
    if text in ("true", "false"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True
