"""From a TOML file to a checked `Job`, or to one error that names the file, the key, the value and
the way out."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from distill.core.errors import JobError
from distill.core.plugins import load_plugins
from distill.core.source import read_source
from distill.job.job import Job
from distill.spec.pools import Pool

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Location = tuple[int | str, ...]
"""Where a mistake stands, as pydantic says it."""
Node = dict[str, Any]
"""A part of the job file's JSON schema."""


def read_job(path: str | Path, *, root: str | None = None) -> Job:
    """Read and resolve the job file at `path`; `root` replaces the file's own. Raises JobError."""
    file = Path(path)
    try:
        text = file.read_text("utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        raise JobError(
            f"{path}: {error.strerror}. Give the path of a job file; `distill init POOL` writes"
            " one."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise JobError(f"{path}: not TOML: {error}") from None
    if root is not None:
        tables["root"] = root
    return parse_job(tables, file, text)


def parse_job(tables: dict[str, Any], file: Path, text: str = "") -> Job:
    """A resolved job from tables as TOML gives them. Raises JobError, with every problem found."""
    _load_plugins(tables.get("plugins"), file)
    try:
        raw = Job.model_validate_json(json.dumps(tables, default=str))
    except ValidationError as error:
        raise JobError("\n".join(f"{file}: {line}" for line in _lines(error, tables))) from None
    raw._path, raw._text = file, text
    return _resolved(raw)


def _load_plugins(names: object, file: Path) -> None:
    """Run the job's plugins, so that its tables can be validated by their kinds."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return  # refused with everything else that is wrong
    folder = file.parent
    try:
        load_plugins(
            read_source(folder / name, f"plugins.{number}") for number, name in enumerate(names)
        )
    except JobError as error:
        raise JobError(f"{file}: {error}") from error


def _resolved(job: Job) -> Job:
    """The job with class files read, features inherited, seeds and `on` filled in."""
    pools = {name: _with_classes(job, name, pool) for name, pool in job.pools.items()}
    declared = list(dict.fromkeys(pool.features for pool in pools.values() if pool.features))
    if len(declared) == 1:
        pools = {
            name: pool.model_copy(update={"features": declared[0]}) for name, pool in pools.items()
        }
    fit = {
        name: spec.model_copy(update={"seed": job.seed if spec.seed is None else spec.seed})
        for name, spec in job.fit.items()
    }
    students = {name: job.completed(student) for name, student in job.students.items()}
    resolved = job.model_copy(update={"pools": pools, "fit": fit, "students": students})
    resolved._path, resolved._text, resolved._written = job._path, job._text, job.students
    return resolved


def _with_classes(job: Job, name: str, pool: Pool) -> Pool:
    if not isinstance(pool.classes, str):
        return pool
    file = job.beside(pool.classes)
    try:
        names = tuple(line.strip() for line in file.read_text("utf-8").splitlines() if line.strip())
    except UnicodeDecodeError:
        raise JobError(
            f"{job.path}: pools.{name}.classes = {str(file)!r}: is not UTF-8 text. Save it as"
            " UTF-8."
        ) from None
    except OSError as error:
        raise JobError(
            f"{job.path}: pools.{name}.classes = {str(file)!r}: {error.strerror}. Give names, or a"
            " file with one a line."
        ) from None
    if len(set(names)) != len(names) or not names:
        raise JobError(
            f"{job.path}: pools.{name}.classes = {str(file)!r}: {len(names)} names,"
            f" {len(set(names))} distinct. Each class stands once."
        )
    return pool.model_copy(update={"classes": names})


def _lines(error: ValidationError, tables: dict[str, Any]) -> Iterator[str]:
    problems = error.errors()
    for problem in problems:
        where = ".".join(_path(problem["loc"], tables))
        if problem["type"] == "too_short" and any(
            _within(each["loc"], problem["loc"]) for each in problems
        ):
            continue  # pydantic counts only the items in which it found no mistake
        if problem["type"] == "extra_forbidden":
            yield f"{where}: unknown key.{_nearest(problem['loc'])}"
        elif problem["type"] == "missing":
            yield f"{where}: missing; it must be given."
        else:
            yield (
                f"{where or 'the job'} = {_short(problem['input'])}:"
                f" {problem['msg'].removeprefix('Value error, ')}."
            )


def _within(location: Location, outer: Location) -> bool:
    return len(location) > len(outer) and location[: len(outer)] == outer


def _path(location: Location, tables: Any) -> Iterator[str]:
    """The keys of a location as the file has them: pydantic adds the tag of a chosen alternative,
    which is no key."""
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if (isinstance(tables, dict) and part in tables) or (
            isinstance(tables, list) and isinstance(part, int)
        ):
            tables = tables[part]  # type: ignore[index]  # an integer where it is a list
        elif (
            not last
            or (isinstance(tables, dict) and tables.get("kind") == part)
            or not isinstance(tables, dict)
        ):
            continue
        yield str(part)


def _nearest(location: Location) -> str:
    """The key that is nearest to the last of `location`, of those that its own table may have."""
    schema = Job.model_json_schema()
    nodes = [schema]
    for part in location[:-1]:
        nodes = [below for node in nodes for below in _below(node, part, schema["$defs"])]
    known = [
        name
        for node in nodes
        for each in _choices(node, schema["$defs"])
        for name in each.get("properties", ())
    ]
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f" Did you mean {near[0]!r}?" if near else " `distill schema` lists the known ones."


def _below(node: Node, part: int | str, defs: Node) -> Iterator[Node]:
    """What a JSON schema says of the item, the key or the chosen alternative `part` of a value."""
    for each in _choices(node, defs):
        if isinstance(part, int):
            yield from [each["items"]] if "items" in each else []
        elif part in each.get("properties", {}):
            yield each["properties"][part]
        elif "patternProperties" in each:  # a table of the user's own names
            yield from each["patternProperties"].values()
        elif isinstance(each.get("additionalProperties"), dict):
            yield each["additionalProperties"]
        elif each.get("properties", {}).get("kind", {}).get("const") == part:
            yield each


def _choices(node: Node, defs: Node) -> Iterator[Node]:
    """The alternatives of a schema, references followed."""
    if "$ref" in node:
        yield from _choices(defs[node["$ref"].rpartition("/")[2]], defs)
        return
    several = [each for key in ("anyOf", "oneOf", "allOf") for each in node.get(key, ())]
    for each in several:
        yield from _choices(each, defs)
    if not several:
        yield node


def _short(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 80 else said[:77] + "…"
