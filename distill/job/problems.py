"""What pydantic found wrong with a job file, a line a problem: the key as the file has it, the value
and the way out. What is due is said in `wording`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from distill.job.known_keys import Location, TableSchema
from distill.job.wording import way_out, what_is_due, written

_MOST_LETTERS = 80  # of a value that is quoted
# kinds of problems that a validator of ours, or of a plugin, says in words of its own; so it does
# where pydantic does not know the kind
_OWN_WORDS = ("value_error", "assertion_error")
_OF_PYDANTIC = frozenset(get_args(ErrorType))
# keys that say where a secret lies; who writes the secret there shall not find it in a log
_SECRET_KEYS = ("key", "sse_customer_key")
_OF_A_KEY = "[key]"  # where pydantic says that the name of a table is wrong


def problem_lines(
    error: ValidationError, tables: dict[str, Any], model: type[BaseModel]
) -> Iterator[str]:
    """Yield a line for each problem; `tables` are the file's, `model` is what refused them."""
    schema = TableSchema(model)
    problems = error.errors()
    locations = [problem["loc"] for problem in problems]
    # pydantic tells of all alternatives of a value one after another
    for key, together in groupby(problems, lambda problem: _key(problem["loc"], tables)):
        alternatives = [
            problem
            for problem in together
            # pydantic counts only the items in which it found no mistake
            if problem["type"] != "too_short" or not _has_within(problem["loc"], locations)
        ]
        yield from _lines(key, alternatives, schema)


def _lines(key: str, problems: list[ErrorDetails], schema: TableSchema) -> Iterator[str]:
    """Yield what is wrong at one key: a value that may be one of several has a problem for each."""
    due = []
    for problem in problems:
        line = _line(key, problem, schema)
        if line is None:
            due.append(problem)
        else:
            yield line
    if due:
        alternatives = dict.fromkeys(what_is_due(each, schema) for each in due)
        way = way_out(due[0]) if len(due) == 1 else ""
        value = _quoted(due[0]["input"], key)
        yield f"{key} = {value}: must be {' or '.join(alternatives)}{way}."


def _line(key: str, problem: ErrorDetails, schema: TableSchema) -> str | None:
    """Return what is wrong, where that is not the value's type or size."""
    location = problem["loc"]
    given = problem["input"]
    value = _quoted(given, key)
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key.{schema.hint(location)}"
    if problem["type"] == "missing" and isinstance(location[-1], int):
        parts = key.rpartition(".")
        parent = parts[0]
        return f"{parent} = {value}: item {location[-1]} is missing{schema.meaning(location[:-1])}."
    if problem["type"] == "missing":
        return f"{key}: missing; it must be given{schema.meaning(location)}."
    if problem["type"] in _OWN_WORDS or problem["type"] not in _OF_PYDANTIC:
        message = problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        return f"{key or 'the job'} = {value}: {message}."
    if location[-1] == _OF_A_KEY:
        return (
            f"{key}: is no name. A name begins with a letter, and has only letters, digits, '_'"
            " and '-'."
        )
    return None


def _has_within(outer: Location, locations: list[Location]) -> bool:
    """Whether any of the locations lies within `outer`."""
    depth = len(outer)
    return any(len(each) > depth and each[:depth] == outer for each in locations)


def _key(location: Location, tables: Any) -> str:
    """Return a location as the file has it."""
    # pydantic adds the tag of a chosen alternative, which is no key
    keys = []
    for position, part in enumerate(location):
        is_last = position == len(location) - 1
        if not is_last and _is_tag(tables, part):
            continue
        if _has_part(tables, part):
            tables = tables[part]
            keys.append(str(part))
        elif is_last and part != _OF_A_KEY and _may_lack(tables, part):
            keys.append(str(part))
    return ".".join(keys)


def _is_tag(tables: Any, part: int | str) -> bool:
    """Whether `part` is the kind that a table says, which another of its keys may be called."""
    return isinstance(tables, dict) and tables.get("kind") == part


def _may_lack(tables: Any, part: int | str) -> bool:
    """Whether `part` is a key or an item that is missing, and no tag."""
    if isinstance(tables, list):
        return isinstance(part, int)
    return isinstance(tables, dict) and not _is_tag(tables, part)


def _has_part(tables: Any, part: int | str) -> bool:
    if isinstance(tables, list):
        return isinstance(part, int) and part < len(tables)
    return isinstance(tables, dict) and part in tables


def _quoted(value: object, key: str = "") -> str:
    if key.rpartition(".")[2] in _SECRET_KEYS:
        return "…"
    shown = _without_secrets(value)
    text = written(shown)
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 3] + "…"


def _without_secrets(value: object) -> object:
    if isinstance(value, dict):
        return {
            name: "…" if name in _SECRET_KEYS else _without_secrets(each)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(each) for each in value]
    return value
