"""What pydantic found wrong with a job file, a line a problem: the key as the file has it, the value
and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

Location = tuple[int | str, ...]
"""Where a mistake stands, as pydantic says it."""
Node = dict[str, Any]
"""A part of the job file's JSON schema."""

_MOST_LETTERS = 80
"""Of a value that is quoted."""


def problem_lines(
    error: ValidationError, tables: dict[str, Any], model: type[BaseModel]
) -> Iterator[str]:
    """Yield a line for each problem; `tables` are the file's, `model` is what refused them."""
    problems = error.errors()
    locations = [problem["loc"] for problem in problems]
    for problem in problems:
        location = problem["loc"]
        key = ".".join(_keys(location, tables))
        if problem["type"] == "too_short" and _has_within(location, locations):
            continue  # pydantic counts only the items in which it found no mistake
        if problem["type"] == "extra_forbidden":
            yield f"{key}: unknown key.{_hint(location, model)}"
        elif problem["type"] == "missing":
            yield f"{key}: missing; it must be given."
        else:
            message = problem["msg"].removeprefix("Value error, ")
            yield f"{key or 'the job'} = {_quoted(problem['input'])}: {message}."


def _has_within(outer: Location, locations: list[Location]) -> bool:
    """Whether any of the locations lies within `outer`."""
    depth = len(outer)
    return any(len(each) > depth and each[:depth] == outer for each in locations)


def _keys(location: Location, tables: Any) -> Iterator[str]:
    """Yield the keys of a location as the file has them: pydantic adds the tag of a chosen
    alternative, which is no key."""
    for position, part in enumerate(location):
        is_last = position == len(location) - 1
        if _has_part(tables, part):
            tables = tables[part]
            yield str(part)
        elif is_last and isinstance(tables, dict) and tables.get("kind") != part:
            yield str(part)  # a key that is missing


def _has_part(tables: Any, part: int | str) -> bool:
    if isinstance(tables, list):
        return isinstance(part, int)
    return isinstance(tables, dict) and part in tables


def _hint(location: Location, model: type[BaseModel]) -> str:
    """Return the key that is nearest to the last of `location`, of those that its own table may
    have."""
    schema = model.model_json_schema()
    defs = schema["$defs"]
    *parents, unknown = location
    nodes: list[Node] = [schema]
    for part in parents:
        nodes = [below for node in nodes for below in _below(node, part, defs)]
    known: list[str] = []
    for node in nodes:
        for choice in _choices(node, defs):
            known += choice.get("properties", ())
    near = difflib.get_close_matches(str(unknown), known, n=1)
    return f" Did you mean {near[0]!r}?" if near else " `distill schema` lists the known ones."


def _below(node: Node, part: int | str, defs: Node) -> Iterator[Node]:
    """Yield what a JSON schema says of the item, the key or the chosen alternative `part` of a
    value."""
    for choice in _choices(node, defs):
        properties = choice.get("properties", {})
        if isinstance(part, int):
            if "items" in choice:
                yield choice["items"]
        elif part in properties:
            yield properties[part]
        elif "patternProperties" in choice:  # a table of the user's own names
            yield from choice["patternProperties"].values()
        elif isinstance(choice.get("additionalProperties"), dict):
            yield choice["additionalProperties"]
        elif properties.get("kind", {}).get("const") == part:
            yield choice


def _choices(node: Node, defs: Node) -> Iterator[Node]:
    """Yield the alternatives of a schema, references followed."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        yield from _choices(defs[name], defs)
        return
    alternatives = [each for key in ("anyOf", "oneOf", "allOf") for each in node.get(key, ())]
    if not alternatives:
        yield node
    for alternative in alternatives:
        yield from _choices(alternative, defs)


def _quoted(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 3] + "…"
